#include "providers/http_provider.hpp"

#include <algorithm>
#include <map>
#include <mutex>

#include "core/json.hpp"
#include "core/redactor.hpp"
#include "providers/model_health.hpp"
#include "providers/provider_error.hpp"
#include "providers/session.hpp"

namespace parley::providers {
namespace {

constexpr std::size_t kErrorBytesMax = 64 * 1024;
constexpr std::size_t kAnswerBytesMax = 256 * 1024 * 1024; // of one model call; what is not streamed on is held
constexpr std::size_t kEmbeddingsBytesMax = 64 * 1024 * 1024;
constexpr std::size_t kEmbeddingsDepthMax = 16;
constexpr core::MetricName kRequests{"parley_upstream_requests_total", "Requests sent to providers, by outcome.",
                                     core::MetricKind::kCounter};
constexpr core::MetricName kFirstByte{"parley_upstream_first_byte_seconds",
                                      "From sending a request to the head of the answer.",
                                      core::MetricKind::kHistogram};

// Shared by all agents that ask the model.
class HttpPreparedModel final : public PreparedModel {
public:
    HttpPreparedModel(std::unique_ptr<PreparedModel const> of_dialect, std::shared_ptr<ModelHealth> of_model)
        : spoken(std::move(of_dialect)), health(std::move(of_model)) {}

    std::unique_ptr<PreparedModel const> const spoken;
    std::shared_ptr<ModelHealth> const health;
};

// A provider may repeat what it was sent.
core::Error without_secrets(core::Error error, core::Redactor const& redactor) {
    for (auto* const text : {&error.message, &error.param, &error.detail})
        *text = redactor(std::move(*text));
    return error;
}

class HttpModelStream final : public ModelStream {
public:
    HttpModelStream(ModelHealth::Call call, std::unique_ptr<net::ClientExchange> exchange,
                    std::unique_ptr<Decoder> decoder, core::Redactor const& redactor, std::string token)
        : call_(std::move(call)),
          exchange_(std::move(exchange)),
          decoder_(std::move(decoder)),
          redactor_(redactor),
          token_(std::move(token)) {}

    core::Task<bool> next(std::vector<chat::RunEvent>& events) override {
        if (finished_) {
            exchange_->release();
            co_return false;
        }
        for (;;) {
            auto const piece = co_await exchange_->read();
            if (!piece) co_return failed(piece.error());
            if (piece->empty()) {
                auto const whole = decoder_->finish(events);
                if (!whole) co_return failed(whole.error());
                call_.succeeded();
                co_return false;
            }
            taken_bytes_ += piece->size();
            if (taken_bytes_ > kAnswerBytesMax) co_return too_large();
            auto const had = events.size();
            auto const read = decoder_->feed(*piece, events);
            if (!read) co_return failed(read.error());
            finished_ = decoder_->done();
            if (events.size() > had) {
                call_.succeeded(); // it speaks: whoever waits for the probe need not wait for its end
                co_return true;    // its end is dealt with when these have been used
            }
            if (finished_) {
                call_.succeeded();
                exchange_->release();
                co_return false;
            }
        }
    }

private:
    core::Result<bool> failed(core::Error const& error) {
        call_.failed(error, std::chrono::steady_clock::now());
        if (token_.empty()) return without_secrets(error, redactor_);
        auto redactor = redactor_;
        redactor.add(token_);
        return without_secrets(error, redactor);
    }

    core::Result<bool> too_large() { return failed(error_unreadable("It is larger than 256 MiB.", {})); }

    ModelHealth::Call call_;
    std::unique_ptr<net::ClientExchange> exchange_;
    std::unique_ptr<Decoder> decoder_;
    core::Redactor const& redactor_; // of the provider, which the agent keeps
    std::string token_;              // an access token that was sent
    std::size_t taken_bytes_ = 0;
    bool finished_ = false;
};

bool is_stream(std::string_view content_type, bool asked) {
    auto const begins = [&](std::string_view type) { return net::field_is(content_type.substr(0, type.size()), type); };
    if (begins("text/event-stream") || begins("application/x-ndjson")) return true;
    if (begins("application/json")) return false;
    return asked; // some servers name neither
}

class HttpProvider final : public Provider {
public:
    HttpProvider(HttpProviderOptions options, std::unique_ptr<Dialect const> dialect)
        : options_(std::move(options)), dialect_(std::move(dialect)) {
        for (auto const& endpoint : options_.endpoints)
            redactor_.add(endpoint.api_key.reveal());
        for (auto const& [name, value] : options_.headers)
            redactor_.add(value.reveal());
        if (options_.entra) redactor_.add(options_.entra->client_secret.reveal());
        if (is_configured("authorization")) options_.entra.reset(); // nobody would read the token
        for (auto const& endpoint : options_.endpoints)
            headers_.push_back(headers_for(endpoint));
    }

    std::string_view name() const noexcept override { return options_.name; }
    std::string_view type() const noexcept override { return options_.type; }

    std::unique_ptr<PreparedModel const> prepare(ModelSpec const& spec) const override {
        return std::make_unique<HttpPreparedModel const>(dialect_->prepare(spec), health_of(spec.model));
    }

    ModelHealth* health(PreparedModel const& model) const noexcept override { return own(model).health.get(); }
    int max_retries() const noexcept override { return options_.max_retries; }

    core::Task<std::unique_ptr<ModelStream>> start(Session& session, core::Context const& context,
                                                   PreparedModel const& model, chat::Turn const& turn) const override {
        auto const& prepared = own(model);
        auto encoded = dialect_->encode(*prepared.spoken, turn);
        if (!encoded) co_return encoded.error();
        ModelHealth::Call call(prepared.health, std::chrono::steady_clock::now());
        auto exchange = co_await post(session, context, std::move(*encoded), call);
        if (!exchange) co_return exchange.error();
        auto const type = (*exchange)->header("content-type");
        auto decoder = dialect_->decoder(is_stream(type, turn.stream));
        (*exchange)->forget_head();
        auto const kept = options_.entra ? session.tokens.find(options_.name) : session.tokens.end();
        auto token = kept != session.tokens.end() ? kept->second.value : std::string();
        co_return std::make_unique<HttpModelStream>(std::move(call), std::move(*exchange), std::move(decoder),
                                                    redactor_, std::move(token));
    }

    core::Task<std::string> embed(Session& session, core::Context const& context, std::string_view model,
                                  std::string_view body_rest) const override {
        ModelHealth::Call call(health_of(model), std::chrono::steady_clock::now());
        auto exchange = co_await post(session, context, dialect_->encode_embeddings(model, body_rest), call);
        if (!exchange) co_return exchange.error();
        auto body = co_await net::HttpClient::read_all(**exchange, kEmbeddingsBytesMax);
        if (!body) {
            call.failed(body.error(), std::chrono::steady_clock::now());
            co_return body.error();
        }
        auto const sound = core::check_json(*body, kEmbeddingsDepthMax);
        if (!sound || body->find("\"data\"") == std::string::npos)
            co_return without_secrets(error_unreadable("It holds no embeddings.", *body), redactor_);
        call.succeeded();
        co_return std::move(*body);
    }

private:
    static HttpPreparedModel const& own(PreparedModel const& model) noexcept {
        return static_cast<HttpPreparedModel const&>(model);
    }

    bool is_configured(std::string_view lower_case) const {
        return std::any_of(options_.headers.begin(), options_.headers.end(),
                           [&](auto const& header) { return net::field_is(header.first, lower_case); });
    }

    // A configured header is sent instead of ours.
    std::string headers_for(HttpEndpoint const& endpoint) const {
        std::string headers;
        auto const add = [&](std::string_view name, std::string const& value) {
            if (!is_configured(name)) headers.append(name).append(": ").append(value).append("\r\n");
        };
        add("content-type", "application/json");
        add("accept", "application/json, text/event-stream");
        add("user-agent", "parley");
        auto const& key = endpoint.api_key.reveal();
        if (!options_.entra && !key.empty()) {
            if (options_.key_header == KeyHeader::kApiKey) add("api-key", key);
            if (options_.key_header == KeyHeader::kBearer) add("authorization", "Bearer " + key);
        }
        for (auto const& [name, value] : options_.headers)
            headers += name + ": " + value.reveal() + "\r\n";
        return headers;
    }

    // Agents that ask the same model learn from each other's calls.
    std::shared_ptr<ModelHealth> health_of(std::string_view model) const {
        std::lock_guard const lock(health_mutex_);
        auto& health = health_[std::string(model)];
        if (!health) {
            std::vector<double> weights;
            for (auto const& endpoint : options_.endpoints)
                weights.push_back(endpoint.weight);
            health = std::make_shared<ModelHealth>(weights);
        }
        return health;
    }

    core::Task<std::unique_ptr<net::ClientExchange>> post(Session& session, core::Context const& context,
                                                          EncodedRequest encoded, ModelHealth::Call& call) const {
        auto exchange = co_await send(session, context, std::move(encoded), call.endpoint());
        if (exchange) co_return exchange;
        call.failed(exchange.error(), std::chrono::steady_clock::now());
        co_return without_secrets(exchange.error(), redactor_);
    }

    // Sends and sorts out everything that is not a 2xx.
    core::Task<std::unique_ptr<net::ClientExchange>> send(Session& session, core::Context const& context,
                                                          EncodedRequest encoded, std::size_t endpoint) const {
        auto const& upstream = options_.endpoints[endpoint].upstream;
        net::ClientRequest request;
        request.target = upstream->url.path + encoded.path;
        request.headers = headers_[endpoint];
        request.body = std::move(encoded.body);
        request.slice = encoded.slice;
        request.tail = std::move(encoded.tail);
        if (options_.entra) {
            auto const token = co_await entra_token(session, context, options_.name, *options_.entra);
            if (!token) co_return token.error();
            request.headers += "authorization: Bearer " + *token + "\r\n";
        }
        auto const sent = std::chrono::steady_clock::now();
        auto exchange = co_await session.http.send(context, upstream, std::move(request));
        count(session, exchange, std::chrono::duration<double>(std::chrono::steady_clock::now() - sent).count());
        if (!exchange) co_return exchange.error();
        auto& answer = **exchange;
        if (answer.status() < 200 || answer.status() > 299) {
            auto const error = co_await read_error(session, answer);
            co_return error;
        }
        auto const coding = answer.header("content-encoding");
        if (!coding.empty() && !net::field_is(coding, "identity")) {
            co_return error_unreadable("It is compressed, which was not asked for.", {});
        }
        co_return std::move(*exchange);
    }

    // What this loop must not repeat: the access token, too, if there is one.
    core::Redactor redactor_for(Session const& session) const {
        auto redactor = redactor_;
        auto const token = session.tokens.find(options_.name);
        if (options_.entra && token != session.tokens.end()) redactor.add(token->second.value);
        return redactor;
    }

    core::Awaitable<core::Error> read_error(Session& session, net::ClientExchange& answer) const {
        auto const body = co_await net::HttpClient::read_all(answer, kErrorBytesMax);
        ErrorAnswer parts;
        parts.status = answer.status();
        auto const shown = body ? redactor_for(session)(*body) : std::string();
        parts.body = shown;
        parts.retry_after = answer.header("retry-after");
        parts.retry_after_ms = answer.header("retry-after-ms");
        if (options_.entra && parts.status == 401)
            session.tokens.erase(options_.name); // revoked early: ask anew next time
        auto error = dialect_->decode_error(parts);
        if (error.detail.find(options_.name) == std::string::npos)
            error.detail = "provider " + options_.name + ": " + error.detail;
        co_return error;
    }

    void count(Session& session, core::Result<std::unique_ptr<net::ClientExchange>> const& exchange,
               double seconds) const {
        auto& set = session.loop.metrics();
        auto& metrics = session.metrics[options_.name];
        if (!metrics.answered) {
            metrics.answered = &set.counter(kRequests, {{"provider", options_.name}, {"outcome", "2xx"}});
            metrics.first_byte = &set.histogram(kFirstByte, {{"provider", options_.name}});
        }
        if (exchange) metrics.first_byte->observe_seconds(seconds);
        if (exchange && (*exchange)->status() / 100 == 2) {
            metrics.answered->add();
            return;
        }
        auto outcome = exchange ? std::to_string((*exchange)->status() / 100) + "xx"
                                : std::string(core::code_name(exchange.error().code));
        set.counter(kRequests, {{"provider", options_.name}, {"outcome", std::move(outcome)}}).add();
    }

    HttpProviderOptions options_;
    std::unique_ptr<Dialect const> dialect_;
    core::Redactor redactor_;
    std::vector<std::string> headers_; // as options_.endpoints
    mutable std::mutex health_mutex_;  // taken when a configuration is loaded, and for embeddings
    mutable std::map<std::string, std::shared_ptr<ModelHealth>> health_; // by model
};

} // namespace

std::unique_ptr<Provider const> make_http_provider(HttpProviderOptions options,
                                                   std::unique_ptr<Dialect const> dialect) {
    return std::make_unique<HttpProvider>(std::move(options), std::move(dialect));
}

} // namespace parley::providers

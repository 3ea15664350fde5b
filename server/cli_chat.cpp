// `parley chat`: talks to an agent in the terminal, through the same HTTP API that everybody uses.
// Runs on the main thread with a loop of its own; without --url the gateway runs beside it on a free port.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <unistd.h>

#include "core/header_text.hpp"
#include "core/hex.hpp"
#include "core/json.hpp"
#include "core/random.hpp"
#include "net/http_client.hpp"
#include "net/loop.hpp"
#include "net/sse.hpp"
#include "net/tls.hpp"
#include "policy/api_keys.hpp"
#include "server/app.hpp"
#include "server/cli.hpp"

namespace parley::server {
namespace {

namespace json = boost::json;

constexpr std::size_t kErrorBytesMax = 64 * 1024;
constexpr std::size_t kAnswerBytesMax = 256 * 1024 * 1024;

std::string_view text_member(json::object const& object, std::string_view name) {
    auto const* const value = object.if_contains(name);
    auto const* const text = value ? value->if_string() : nullptr;
    return text ? std::string_view(text->data(), text->size()) : std::string_view{};
}

json::object const* first_delta(json::object const& chunk) {
    auto const* const choices = chunk.if_contains("choices");
    if (!choices || !choices->is_array() || choices->get_array().empty()) return nullptr;
    auto const* const choice = choices->get_array()[0].if_object();
    auto const* const delta = choice ? choice->if_contains("delta") : nullptr;
    return delta ? delta->if_object() : nullptr;
}

std::string error_text(std::string_view body, int status) {
    boost::system::error_code bad;
    auto const value = json::parse(json::string_view(body.data(), body.size()), bad);
    auto const* const object = bad ? nullptr : value.if_object();
    auto const* const error = object ? object->if_contains("error") : nullptr;
    if (error && error->is_object()) {
        auto const message = text_member(error->get_object(), "message");
        if (!message.empty()) return std::string(message);
    }
    return fmt::format("the gateway answered with status {}", status);
}

// One conversation with one agent. The history is kept here: the API takes it whole.
class Conversation {
public:
    Conversation(std::shared_ptr<net::Upstream const> gateway, std::string model, std::string key)
        : gateway_(std::move(gateway)), model_(std::move(model)), key_(std::move(key)) {
        interactive_ = ::isatty(1) == 1 && !std::getenv("NO_COLOR");
    }

    /// Asks and prints as it arrives. Returns false after printing what went wrong.
    bool ask(std::string const& question) {
        std::string turn = R"({"role":"user","content":)";
        core::append_json_string(turn, question);
        turn += '}';
        if (!history_.empty()) history_ += ',';
        history_ += turn;
        std::string answer;
        std::string failure;
        run([&]() { return stream(&answer, &failure); });
        finish_line();
        if (!failure.empty()) fmt::print(stderr, "{}parley: {}{}\n", red(), failure, off());
        if (answer.empty()) { // an unanswered question is not part of the talk
            history_.resize(history_.size() - turn.size());
            if (!history_.empty()) history_.pop_back();
        } else {
            history_ += R"(,{"role":"assistant","content":)";
            core::append_json_string(history_, answer);
            history_ += '}';
        }
        return failure.empty();
    }

    /// Prints the answer as the API gives it.
    bool ask_json(std::string const& question) {
        std::string body;
        std::string failure;
        history_ = R"({"role":"user","content":)";
        core::append_json_string(history_, question);
        history_ += '}';
        run([&]() { return fetch(&body, &failure); });
        if (!failure.empty()) fmt::print(stderr, "parley: {}\n", failure);
        if (!body.empty()) fmt::print("{}\n", body);
        return failure.empty();
    }

private:
    net::ClientRequest request(bool streaming) const {
        net::ClientRequest made;
        made.target = gateway_->url.path + "/v1/chat/completions";
        made.headers = "content-type: application/json\r\naccept: application/json, text/event-stream\r\n";
        if (!key_.empty()) made.headers += "authorization: Bearer " + key_ + "\r\n";
        made.body = R"({"model":)";
        core::append_json_string(made.body, model_);
        made.body += streaming ? R"(,"stream":true,"messages":[)" : R"(,"messages":[)";
        made.body += history_ + "]}";
        return made;
    }

    void run(std::function<core::Awaitable<void>()> const& work) {
        net::Loop loop({core::LogLevel::kError, core::LogFormat::kText, 2, false, false});
        net::HttpClient client(loop, pool_);
        client_ = &client;
        auto done = [&loop](std::exception_ptr) { loop.stop(); };
        boost::asio::co_spawn(loop.context(), work(), done);
        loop.run();
    }

    core::Awaitable<void> fetch(std::string* body, std::string* failure) {
        core::Cancellation never;
        core::Context const context{never};
        auto exchange = co_await client_->send(context, gateway_, request(false));
        if (!exchange) {
            *failure = exchange.error().message;
            co_return;
        }
        auto got = co_await net::HttpClient::read_all(**exchange, kAnswerBytesMax);
        if (!got) {
            *failure = got.error().message;
            co_return;
        }
        *body = std::move(*got);
        if ((*exchange)->status() != 200) *failure = told(*body, (*exchange)->status());
    }

    core::Awaitable<void> stream(std::string* answer, std::string* failure) {
        core::Cancellation never;
        core::Context const context{never};
        auto exchange = co_await client_->send(context, gateway_, request(true));
        if (!exchange) {
            *failure = exchange.error().message;
            co_return;
        }
        if ((*exchange)->status() != 200) {
            auto const body = co_await net::HttpClient::read_all(**exchange, kErrorBytesMax);
            *failure = told(body ? std::string_view(*body) : std::string_view{}, (*exchange)->status());
            co_return;
        }
        net::SseReader events;
        auto whole = false;
        while (!whole && failure->empty()) {
            auto const bytes = co_await (*exchange)->read();
            if (!bytes) *failure = bytes.error().message;
            if (!bytes || bytes->empty()) break;
            events.feed(*bytes);
            net::SseEvent event;
            for (auto more = events.next(event); more && *more; more = events.next(event)) {
                whole = whole || event.data == "[DONE]";
                if (!whole) show(event.data, *answer, *failure);
            }
        }
        if (!whole && failure->empty()) *failure = "the answer was cut off";
    }

    static std::string told(std::string_view body, int status) {
        auto text = error_text(body, status);
        if (status == 401) text += " Here PARLEY_API_KEY (in the environment or .env) is the key that is shown.";
        return text;
    }

    void show(std::string_view data, std::string& answer, std::string& failure) {
        boost::system::error_code bad;
        auto const value = json::parse(json::string_view(data.data(), data.size()), bad);
        auto const* const chunk = bad ? nullptr : value.if_object();
        if (!chunk) return;
        if (chunk->contains("error")) {
            failure = error_text(data, 200);
            return;
        }
        auto const* const delta = first_delta(*chunk);
        if (!delta) return;
        auto const thought = text_member(*delta, "reasoning_content");
        if (!thought.empty()) print(thought, true);
        auto const text = text_member(*delta, "content");
        if (!text.empty()) print(text, false);
        answer += text;
        auto const* const calls = delta->if_contains("tool_calls");
        if (calls) print(json::serialize(*calls), true);
    }

    void print(std::string_view text, bool dimmed) {
        if (dimmed != dimmed_ && column_) fmt::print("\n\n");
        if (dimmed && !interactive_) return; // a pipe gets the answer alone
        fmt::print("{}{}{}", dimmed ? dim() : "", text, dimmed ? off() : "");
        std::fflush(stdout);
        dimmed_ = dimmed;
        column_ = true;
    }

    void finish_line() {
        if (column_) fmt::print("\n");
        std::fflush(stdout);
        column_ = dimmed_ = false;
    }

    std::string_view dim() const { return interactive_ ? "\x1b[2m" : ""; }
    std::string_view red() const { return ::isatty(2) == 1 ? "\x1b[31m" : ""; }
    std::string_view off() const { return interactive_ ? "\x1b[0m" : ""; }

    std::shared_ptr<net::Upstream const> gateway_;
    std::string model_;
    std::string key_;
    std::string history_; // messages as JSON, without the brackets
    boost::asio::thread_pool pool_{1};
    net::HttpClient* client_ = nullptr;
    bool interactive_ = false;
    bool column_ = false; // something stands on the current line
    bool dimmed_ = false;
};

int talk(Conversation& conversation, ChatOptions const& options) {
    if (!options.message.empty()) {
        auto const good = options.as_json ? conversation.ask_json(options.message) : conversation.ask(options.message);
        return good ? kExitOk : kExitFault;
    }
    auto const terminal = ::isatty(0) == 1 && ::isatty(1) == 1;
    if (terminal) fmt::print("Talking to {}. An empty line or Ctrl-D ends it.\n", options.model);
    auto good = true;
    for (std::string line;;) {
        if (terminal) fmt::print("\n\x1b[1myou>\x1b[0m ");
        std::fflush(stdout);
        if (!std::getline(std::cin, line) || (terminal && line.empty())) break;
        if (line.empty()) continue;
        if (terminal) fmt::print("\x1b[1;36m{}>\x1b[0m ", options.model);
        good = conversation.ask(line) && good;
    }
    return good ? kExitOk : kExitFault;
}

// A gateway of this process, on a free port of this machine, for as long as it lives.
class OwnGateway {
public:
    static core::Result<std::unique_ptr<OwnGateway>> start(Flags const& flags, Environment const& environment,
                                                           std::string* key) {
        auto made = make_settings(flags, environment);
        if (!made.faults.empty()) return core::make_error(core::Errc::kInvalidValue, made.faults.front());
        auto& settings = made.settings;
        settings.host = "127.0.0.1";
        settings.port = 0;
        settings.threads = 1;
        settings.tls_certificate.clear();
        settings.tls_key.clear();
        if (!flags.debug) settings.log.level = core::LogLevel::kError;
        auto const& list = settings.api_keys.empty() ? settings.forwarder_keys : settings.api_keys;
        auto const keys = policy::ApiKeys::split(list.reveal());
        if (!keys.empty()) {
            *key = keys.front();
        } else if (key->empty()) { // keys in the store are for others: this gateway is for this chat
            *key = core::hex(core::random_bytes(16));
            settings.api_keys = core::Secret(*key);
        }
        auto app = App::create(std::move(settings), ".env");
        if (!app) return app.error();
        return std::unique_ptr<OwnGateway>(new OwnGateway(std::move(*app)));
    }
    ~OwnGateway() {
        app_->stop();
        thread_.join();
    }
    std::string url() const { return fmt::format("http://127.0.0.1:{}", app_->port()); }

private:
    explicit OwnGateway(std::unique_ptr<App> app) : app_(std::move(app)), thread_([this] { app_->run(false); }) {}
    std::unique_ptr<App> app_;
    std::thread thread_;
};

} // namespace

int chat(Flags const& flags, ChatOptions const& options) {
    auto const fail = [](std::string_view why) {
        fmt::print(stderr, "parley: {}\n", why);
        return kExitFault;
    };
    auto const environment = Environment::load(".env");
    if (!environment) return fail(environment.error().message);
    auto key = std::string(core::trimmed_header_value(environment->find("PARLEY_API_KEY").value_or("")));
    std::unique_ptr<OwnGateway> own;
    auto address = options.url;
    if (address.empty()) {
        auto started = OwnGateway::start(flags, *environment, &key);
        if (!started) return fail(started.error().message);
        own = std::move(*started);
        address = own->url();
    }
    if (address.ends_with("/v1")) address.resize(address.size() - 3);
    auto url = net::parse_url(address);
    if (!url) return fail(url.error().message);
    auto gateway = std::make_shared<net::Upstream>();
    gateway->kind = "Gateway";
    gateway->name = address;
    gateway->url = std::move(*url);
    if (gateway->url.tls) gateway->tls = net::make_tls_client_context({});
    Conversation conversation(std::move(gateway), options.model, std::move(key));
    return talk(conversation, options);
}

} // namespace parley::server

#include "mcp/http_endpoint.hpp"

#include <utility>

#include "mcp/protocol.hpp"
#include "net/http_head.hpp"
#include "net/tls.hpp"
#include "net/url.hpp"

namespace parley::mcp {
namespace {

using core::Errc;
using core::make_error;

constexpr std::size_t kErrorBodyBytesMax = 64 * 1024;
constexpr int kChallengesMax = 6; // a token, a step-up or two, and nonces in between
// The session's own limits decide; these only bound what it might forget.
constexpr std::chrono::hours kForever{24};

// The token of "authorization: Bearer TOKEN".
std::string_view credential_in(std::string_view headers) {
    auto const line = headers.substr(0, headers.find('\r'));
    return line.starts_with("authorization: ") ? line.substr(line.rfind(' ') + 1) : std::string_view{};
}

// The server has not acted on the request: it never left, or was refused for want of an authorisation.
core::Error unseen(core::Error error) {
    error.should_retry = true;
    return error;
}

} // namespace

core::Result<std::unique_ptr<HttpEndpoint>> HttpEndpoint::make(TransportParts const& parts,
                                                               std::shared_ptr<ServerSpec const> spec) {
    std::string_view const text = spec->url.reveal();
    auto const query = text.find_first_of("?#");
    auto url = net::parse_url(text.substr(0, query));
    if (!url) return url.error();
    // parse_url leaves out a '/' at the end, which is another resource to some servers.
    auto target = url->path;
    if (target.empty() || text.substr(0, query).ends_with('/')) target += '/';
    if (query != std::string_view::npos && text[query] == '?')
        target += text.substr(query, text.find('#', query) - query);
    auto upstream = std::make_shared<net::Upstream>();
    upstream->kind = "MCP server";
    upstream->name = spec->label;
    upstream->url = *url;
    if (url->tls) {
        try {
            upstream->tls = net::make_tls_client_context({spec->ca_file});
        } catch (std::exception const& error) {
            return make_error(Errc::kInvalidValue, error.what());
        }
    }
    upstream->timeouts = {spec->connect_timeout, kForever, kForever, kForever};
    return std::unique_ptr<HttpEndpoint>(
        new HttpEndpoint(parts, std::move(spec), std::move(upstream), std::move(target)));
}

HttpEndpoint::HttpEndpoint(TransportParts const& parts, std::shared_ptr<ServerSpec const> spec,
                           std::shared_ptr<net::Upstream const> upstream, std::string target)
    : http_(parts.http),
      secrets_(parts.secrets),
      spec_(std::move(spec)),
      upstream_(std::move(upstream)),
      target_(std::move(target)),
      url_((upstream_->url.tls ? "https://" : "http://") + upstream_->url.authority()),
      authorizer_(make_authorizer(spec_, parts.loop, parts.http, parts.approver, upstream_->tls)) {}

core::Task<HttpEndpoint::Answer> HttpEndpoint::request(core::Context const& context, std::string_view method,
                                                       std::string target, std::string headers, std::string body,
                                                       bool may_repeat) {
    for (auto challenges = 0;; ++challenges) {
        auto const authorisation = co_await authorizer_->headers(context, method, url_ + target);
        if (!authorisation) co_return unseen(authorisation.error());
        if (secrets_) secrets_->add_passing(credential_in(*authorisation));
        net::ClientRequest request{method, target, headers + *authorisation, body, may_repeat};
        auto sent = false;
        request.sent = &sent;
        auto answer = co_await http_.send(context, upstream_, std::move(request));
        if (!answer) co_return sent ? answer.error() : unseen(answer.error());
        auto const status = (*answer)->status();
        auto const nonce = std::string((*answer)->header("dpop-nonce"));
        auto const challenge = (*answer)->header_list("www-authenticate");
        auto const may_be_met =
            status == 401 || (status == 403 && !challenge.empty()) || (status == 400 && !nonce.empty());
        if (!may_be_met || challenges == kChallengesMax) co_return std::move(*answer);
        auto const drained = co_await net::HttpClient::read_all(**answer, kErrorBodyBytesMax);
        (void)drained; // the connection is kept if that went well
        answer->reset();
        auto const again = co_await authorizer_->challenged(context, status, challenge, nonce, *authorisation);
        if (!again) co_return unseen(again.error());
        if (*again) continue;
        core::Error refused = make_error(
            Errc::kUpstreamAuth, status == 403 ? "It refuses us: our authorisation does not reach that far (403)."
                                               : "It wants an authorisation that is not configured (401).");
        refused.upstream_status = status;
        co_return refused;
    }
}

core::Awaitable<core::Error> HttpEndpoint::read_error(net::ClientExchange& answer, net::Upstream const& upstream) {
    auto const status = answer.status();
    auto const body = co_await net::HttpClient::read_all(answer, kErrorBodyBytesMax);
    auto text = upstream.shown() + " answered with HTTP status " + std::to_string(status) + ".";
    core::Error error;
    if (body) {
        error.detail = *body;
        if (auto const rpc = error_in(*body)) text += " It says: " + plain_text(rpc->message);
    }
    error.code = status == 401 || status == 403 ? Errc::kUpstreamAuth
                 : status >= 500                ? Errc::kUpstreamFailed
                                                : Errc::kUpstreamRejected;
    error.message = std::move(text);
    error.upstream_status = status;
    co_return error;
}

core::Task<> read_events(net::ClientExchange& answer, StreamPosition& position,
                         std::function<bool(net::SseEvent const&)> on_event) {
    net::SseReader reader;
    net::SseEvent event;
    auto ended = false;
    while (!ended) {
        auto const piece = co_await answer.read();
        if (!piece) co_return piece.error();
        ended = piece->empty();
        reader.feed(*piece);
        for (;;) {
            auto const got = ended ? reader.finish(event) : reader.next(event);
            if (!got) co_return got.error();
            if (!reader.last_event_id().empty()) position.last_event_id = reader.last_event_id();
            if (reader.retry()) position.retry = *reader.retry();
            if (!*got) break;
            auto const more = on_event(event);
            if (!more) co_return core::Result<>{};
            if (ended) break;
        }
    }
    co_return core::Result<>{};
}

bool is_content_type(std::string_view value, std::string_view type) noexcept {
    return value.size() >= type.size() && net::field_is(value.substr(0, type.size()), type);
}

} // namespace parley::mcp

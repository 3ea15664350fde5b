#include "server/gateway.hpp"

#include <algorithm>
#include <utility>

#include "net/address.hpp"
#include "server/api_error.hpp"
#include "server/large_body.hpp"
#include "server/run_logs.hpp"

namespace parley::server {
namespace {

using core::Errc;
using std::chrono::steady_clock;

// Goes out on every answer, so it must be plain: visible ASCII, bounded.
bool is_plain_id(std::string_view id) noexcept {
    if (id.empty() || id.size() > 128) return false;
    return std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c < 0x7f && c != '"' && c != '\\'; });
}

bool is_loopback_host(std::string_view host) noexcept {
    auto name = host.substr(0, host.find(':'));
    if (host.starts_with('[')) name = host.substr(1, host.find(']') - 1);
    constexpr std::string_view local = "localhost"; // names have no case
    auto const from = name.size() - std::min(name.size(), local.size());
    if (net::field_is(name.substr(from), local) && (from == 0 || name[from - 1] == '.')) return true;
    return net::address_kind(name) == net::AddressKind::kLoopback;
}

std::string_view origin_host(std::string_view origin) noexcept {
    auto const scheme = origin.find("://");
    return scheme == std::string_view::npos ? std::string_view{} : origin.substr(scheme + 3);
}

bool is_json(std::string_view content_type) noexcept {
    auto const end = content_type.find(';');
    auto type = content_type.substr(0, end);
    while (!type.empty() && type.back() == ' ')
        type.remove_suffix(1);
    if (!net::field_is(type, "application/json")) return false;
    if (end == std::string_view::npos) return true;
    auto const charset = content_type.find("charset=", end);
    if (charset == std::string_view::npos) return true;
    auto name = content_type.substr(charset + 8);
    if (name.starts_with('"')) name.remove_prefix(1);
    return name.size() >= 5 && net::field_is(name.substr(0, 5), "utf-8");
}

bool is_conversation_route(RouteId id) noexcept {
    return id >= RouteId::kAgentConversation && id <= RouteId::kConversationFork;
}

// Somebody has put a key where a name belongs: it must not be kept.
constexpr std::string_view kKeySegment = "/sk-";

std::string without_keys(std::string path) {
    for (auto at = path.find(kKeySegment); at != std::string::npos; at = path.find(kKeySegment, at + 1)) {
        auto const end = std::min(path.find('/', at + 1), path.size());
        path.replace(at + 1, end - at - 1, "[redacted]");
    }
    return path;
}

Errc errc_of(int status) noexcept {
    switch (status) {
        case 405:
            return Errc::kMethodNotAllowed;
        case 413:
            return Errc::kPayloadTooLarge;
        case 415:
            return Errc::kUnsupportedMediaType;
        case 500:
            return Errc::kInternal;
        default:
            return Errc::kInvalidValue;
    }
}

} // namespace

Gateway::Gateway(net::Loop& loop, providers::Session& session, GatewayShared const& shared,
                 std::shared_ptr<agents::Catalogue const> catalogue, agents::ToolServices& tools,
                 memory::ConversationStore& conversations, policy::UsageLimits& limits)
    : loop_(loop),
      session_(session),
      shared_(shared),
      catalogue_(std::move(catalogue)),
      tools_(tools),
      conversations_(conversations),
      limits_(limits),
      summariser_(session, conversations, loop.executor(),
                  [this](auto const& record) {
                      log_summary(loop_.log(), record);
                      metrics_.count_summary(record.problem.empty());
                  }),
      metrics_(loop.metrics()) {
    tools_.on_call = [&log = loop.log()](auto const& call) { log_tool_call(log, call); };
}

std::optional<net::Response> Gateway::admit(net::RequestHead const& head, net::Ticket& ticket) {
    auto const given = head.get("x-request-id");
    ticket.request_id = is_plain_id(given) ? std::string(given) : loop_.ids().make("req_");

    auto const refused = [&](core::Error const& error, std::string_view allow = {}) {
        return std::optional(refusal(head, ticket, error, allow));
    };
    auto const match = match_route(head.method, head.path);
    if (auto const error = check_origin(head)) return refused(*error);
    if (head.method == "OPTIONS" && (match.path_known || head.path == "*")) {
        return preflight(head, match, ticket);
    }
    if (!match.path_known) {
        return refused(core::make_error(Errc::kUnknownUrl, "Unknown request URL: " + std::string(head.method) + " " +
                                                               std::string(head.path.substr(0, 200)) +
                                                               ". See /docs for what there is."));
    }
    if (!match.route) {
        return refused(
            core::make_error(Errc::kMethodNotAllowed, "Not with " + std::string(head.method) + ": this URL takes " +
                                                          std::string(match.allow) + "."),
            match.allow);
    }
    ticket.route = static_cast<std::size_t>(match.route - all_routes().data());
    auto const detailed =
        match.route->id == RouteId::kHealth && head.query.find("detailed=true") != std::string_view::npos;
    if (match.route->access == Access::kKey || detailed) {
        auto const scope = detailed ? Scope::kOperate : match.route->scope;
        if (auto const error = check_key(head, scope, ticket)) return refused(*error);
        auto user = forwarded_user(head, ticket.principal, shared_.forwarding, std::chrono::system_clock::now());
        if (!user) return refused(user.error());
        if (*user) ticket.user_id = std::move(**user);
    }
    if (match.route->method == "POST" && !is_json(head.get("content-type"))) {
        return refused(
            core::make_error(Errc::kUnsupportedMediaType, "Send the body as Content-Type: application/json (UTF-8)."));
    }
    if (match.route->id == RouteId::kChatCompletions && !shared_.admission.has_room())
        return refused(Admission::too_many());
    return std::nullopt;
}

net::Response Gateway::refusal(net::RequestHead const& head, net::Ticket const& ticket, core::Error const& error,
                               std::string_view allow) {
    RequestState state;
    state.request_id = ticket.request_id;
    state.started = steady_clock::now();
    state.method = head.method;
    state.path = head.path;
    auto api = to_api_error(error);
    state.status = api.status;
    note(state, error);
    auto const origin = head.get("origin");
    if (!origin.empty() && origin_allowed(origin, head.get("host"))) state.origin = origin;
    net::Response response{api.status, std::move(api.body), "application/json", std::move(api.headers), false};
    if (!allow.empty()) response.headers.emplace_back("allow", allow);
    decorate(response, state);
    log(state, false);
    return response;
}

// Without keys anything that reaches the socket is let in, so a web page in the user's browser must be kept out: it
// shows itself by its Origin, or, under a DNS name rebound to this machine, by its Host.
std::optional<core::Error> Gateway::check_origin(net::RequestHead const& head) const {
    if (wants_keys() || shared_.allow_anonymous) return std::nullopt;
    auto const origin = head.get("origin");
    auto const host = head.get("host");
    if (!origin.empty() && !origin_allowed(origin, host)) {
        return core::make_error(Errc::kPermissionDenied,
                                "This page's origin may not use Parley. List it in PARLEY_CORS_ORIGINS to allow it.");
    }
    if (host.empty() || is_loopback_host(host)) return std::nullopt;
    return core::make_error(
        Errc::kPermissionDenied,
        "Without API keys Parley answers only to names of this machine, such as localhost. Set PARLEY_API_KEYS, or "
        "start it with --allow-anonymous.");
}

bool Gateway::origin_allowed(std::string_view origin, std::string_view host) const {
    auto const& list = shared_.cors_origins;
    if (std::find(list.begin(), list.end(), origin) != list.end()) return true;
    return origin_host(origin) == host && (is_loopback_host(host) || !shared_.keys.empty());
}

net::Response Gateway::preflight(net::RequestHead const& head, Match const& match, net::Ticket const& ticket) const {
    net::Response response{204, {}, "", {{"x-request-id", ticket.request_id}}, false};
    auto const origin = head.get("origin");
    if (!origin.empty() && origin_allowed(origin, head.get("host"))) {
        auto const add = [&response](char const* name, std::string_view value) {
            response.headers.emplace_back(name, value);
        };
        add("access-control-allow-origin", origin);
        add("access-control-allow-methods", match.allow);
        add("access-control-allow-headers", head.get("access-control-request-headers"));
        add("access-control-max-age", "600");
        add("vary", "origin");
    }
    response.headers.emplace_back("allow", match.allow.empty() ? "GET, HEAD, POST, OPTIONS" : std::string(match.allow));
    return response;
}

core::Awaitable<void> Gateway::handle(net::Request& request, net::Exchange& exchange) {
    auto const& route = all_routes()[request.ticket.route];
    RequestState state;
    state.request_id = request.ticket.request_id;
    state.principal = request.ticket.principal;
    state.key = stored_key(state.principal);
    state.user_id = request.ticket.user_id;
    state.started = request.started;
    state.method = request.head.method;
    state.path = request.head.path;
    state.peer = request.peer;
    state.route = request.ticket.route;
    auto const origin = request.head.get("origin");
    if (!origin.empty() && origin_allowed(origin, request.head.get("host"))) state.origin = origin;

    std::exception_ptr thrown; // a bug, or no memory: it has its line in the log and its place in the metrics
    try {
        if (route.id == RouteId::kChatCompletions) {
            co_await chat(request, exchange, state);
        } else if (route.id == RouteId::kEmbeddings) {
            co_await embeddings(request, exchange, state);
        } else if (is_conversation_route(route.id)) {
            co_await conversation_page(request, exchange, state);
        } else {
            answer_page(route.id, request, exchange, state);
        }
    } catch (...) {
        thrown = std::current_exception();
    }
    if (thrown) end_thrown(thrown, exchange, state);
    log(state, exchange.client_gone());
}

// What was begun stays cut, which the client sees as an end that is none.
void Gateway::end_thrown(std::exception_ptr const& thrown, net::Exchange& exchange, RequestState& state) {
    std::string what = "an unknown exception";
    try {
        std::rethrow_exception(thrown);
    } catch (std::exception const& e) {
        what = e.what();
    } catch (...) { // NOLINT(bugprone-empty-catch): said above
    }
    loop_.log().error("handler_threw").add("request_id", state.request_id).add("what", what);
    auto error =
        core::make_error(Errc::kInternal, "Parley failed to answer this request. This is a bug; the log has more.");
    error.should_retry = false; // a tool may have run before it
    if (state.status == 0) return fail(exchange, state, error);
    state.status = 500;
    note(state, error);
}

bool Gateway::is_large(net::Request const& request) const noexcept {
    return request.body.size() >= kLargeBodyBytes && shared_.readers != nullptr;
}

net::Response Gateway::refuse(int status, std::string_view reason) {
    auto error = core::make_error(errc_of(status), std::string(reason));
    if (status == 500) error.should_retry = false; // a bug of ours; a tool may have run before it
    auto api = to_api_error(error);
    net::Response response{status, std::move(api.body), "application/json", std::move(api.headers), true};
    auto const request_id = loop_.ids().make("req_");
    RequestState state;
    state.request_id = request_id;
    state.status = status;
    state.started = steady_clock::now();
    state.error_reason = reason;
    decorate(response, state);
    log(state, false);
    return response;
}

core::Error Gateway::told_error(core::Error error, net::Exchange const& exchange) {
    if (error.code != Errc::kCancelled || exchange.client_gone()) return error;
    auto told =
        core::make_error(Errc::kDraining, "Parley is shutting down and had to cut this answer off. Please ask again.");
    told.should_retry = error.should_retry; // false once a tool has run
    return told;
}

void Gateway::answer(net::Exchange& exchange, RequestState& state, net::Response response) {
    state.status = response.status;
    decorate(response, state);
    exchange.respond(std::move(response));
}

void Gateway::note(RequestState& state, core::Error const& error) {
    state.error_code = core::code_name(error.code);
    state.error_detail = error.detail;
    if (core::is_in_our_words(error.code)) state.error_reason = error.message;
}

void Gateway::fail(net::Exchange& exchange, RequestState& state, core::Error const& error) {
    auto const told = told_error(error, exchange);
    auto api = to_api_error(told);
    note(state, told);
    net::Response response{api.status, std::move(api.body), "application/json", std::move(api.headers), false};
    answer(exchange, state, std::move(response));
}

void Gateway::decorate(net::Response& response, RequestState const& state) const {
    auto& headers = response.headers;
    headers.emplace_back("x-request-id", state.request_id);
    auto const elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - state.started);
    headers.emplace_back("openai-processing-ms", std::to_string(elapsed.count()));
    if (state.attempts != 0) headers.emplace_back("x-parley-attempts", std::to_string(state.attempts));
    if (state.replayed) headers.emplace_back("idempotent-replayed", "true");
    if (state.rate_limits) add_rate_limits(headers, *state.rate_limits);
    if (!state.origin.empty()) {
        headers.emplace_back("access-control-allow-origin", state.origin);
        headers.emplace_back("access-control-expose-headers",
                             "x-request-id, openai-processing-ms, retry-after, retry-after-ms, x-should-retry, "
                             "idempotent-replayed, x-parley-attempts, x-ratelimit-limit-requests, "
                             "x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, "
                             "x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens");
        headers.emplace_back("vary", "origin");
    }
}

void Gateway::log(RequestState const& state, bool client_gone) {
    auto const now = steady_clock::now();
    auto const duration = std::chrono::duration<double>(now - state.started).count();
    metrics_.count(state, duration, client_gone);
    auto const quiet = state.status < 400 && state.agent.empty(); // probes and pages
    auto const level = state.status >= 500   ? core::LogLevel::kError
                       : state.status >= 400 ? core::LogLevel::kWarn
                       : quiet               ? core::LogLevel::kDebug
                                             : core::LogLevel::kInfo;
    if (!loop_.log().enabled(level)) return;
    auto const is_key_in_path = state.path.find(kKeySegment) != std::string::npos;
    auto const shown = is_key_in_path ? without_keys(std::string(state.path)) : std::string();
    core::Log::Line line(loop_.log(), level, "request");
    line.add("request_id", state.request_id)
        .add("method", state.method)
        .add("path", is_key_in_path ? std::string_view(shown) : state.path)
        .add("status", state.status);
    if (!state.agent.empty()) line.add("agent", state.agent);
    if (!state.task.empty()) line.add("task", state.task);
    if (!state.answered_by.empty() && state.answered_by != state.agent) line.add("answered_by", state.answered_by);
    if (state.attempts > 1) line.add("attempts", static_cast<std::int64_t>(state.attempts));
    if (state.usage) {
        line.add("prompt_tokens", state.usage->prompt_tokens).add("completion_tokens", state.usage->completion_tokens);
    }
    if (state.tool_calls != 0) line.add("tool_calls", state.tool_calls);
    if (auto const& agent = state.agent_usage) {
        line.add("tool_rounds", agent->tool_rounds);
        if (agent->stop_reason != chat::StopReason::kCompleted)
            line.add("stop_reason", chat::stop_reason_name(agent->stop_reason));
    }
    if (state.replayed) line.add("replayed", "yes");
    if (!state.conversation.empty()) line.add("conversation", state.conversation);
    if (state.first_token)
        line.add_ms("ttft_ms", std::chrono::duration<double, std::milli>(*state.first_token - state.started).count());
    line.add_ms("duration_ms", duration * 1000);
    if (!state.error_code.empty()) line.add("error", state.error_code);
    if (!state.error_reason.empty()) line.add("reason", state.error_reason);
    if (shared_.log_texts && !state.error_detail.empty() && loop_.log().enabled(core::LogLevel::kDebug))
        line.add("detail", state.error_detail);
    if (client_gone) line.add("client", "gone");
    if (!state.principal.empty()) line.add("principal", state.principal);
    if (!state.user_id.empty()) line.add("user", state.user_id);
    if (!state.peer.empty()) line.add("peer", state.peer);
}

} // namespace parley::server

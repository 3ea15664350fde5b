// Calls of a server's tools: a place among those that run at once, a session, and what the model is told where there is
// no result. A call that may have been done is not made again, and the model is told so.
#include <boost/json/object.hpp>

#include <algorithm>
#include <utility>

#include "core/json_tree.hpp"
#include "mcp/server.hpp"

namespace parley::mcp {
namespace {

namespace json = boost::json;

using core::Errc;
using core::make_error;
using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPingPatience{5'000};
constexpr core::MetricName kCalls{"parley_mcp_calls_total", "Tools of MCP servers that were called.",
                                  core::MetricKind::kCounter};
constexpr core::MetricName kCallSeconds{"parley_mcp_call_seconds", "From calling a tool to its result.",
                                        core::MetricKind::kHistogram};

// The HTTP status of a refusal that may be about the session. Of those with 400, only the codes that are used for it.
int refusal_of(core::Result<Reply> const& reply) {
    if (!reply) return reply.error().upstream_status;
    auto const is_own = reply->error && reply->error->code != -32000 && reply->error->code != -32001;
    return reply->http_status == 400 && is_own ? 0 : reply->http_status;
}

// Only what was never sent, was never read, or was turned away at the door is certain not to have happened.
bool may_be_done(core::Error const& error) {
    if (error.should_retry == true) return false;
    auto const status = error.upstream_status;
    return status != 401 && status != 403 && status != 404 && status != 429;
}

} // namespace

core::Task<> Server::enter(core::Context const& context) {
    while (calls_ >= spec_->calls_max) {
        co_await call_ended_.wait(context);
        if (closing_) break; // session() says so
        if (context.cancellation.cancelled()) co_return make_error(Errc::kCancelled, "The client went away.");
        if (steady_clock::now() >= context.deadline)
            co_return make_error(Errc::kDeadlineExceeded, "The run took longer than this agent may take.");
    }
    co_return core::Result<>{};
}

CallResult Server::told(std::string text, bool may_be_done) const {
    CallResult result;
    result.text = "The tool server '" + spec_->label +
                  (may_be_done ? "' gave no result, and may have done this all the same. " : "' could not do this. ") +
                  (*parts_.secrets)(std::move(text));
    result.is_error = true;
    return result;
}

// The session is dead, and was before the request came to it.
bool Server::is_unheard(core::Error const& error, Session const& session) const {
    return error.should_retry == true && (spec_->transport == Transport::kStdio || session.is_lost());
}

// A session that the server does not know any more: it was restarted, or has thrown us out. Nothing was done then. The
// specification's word for it is 404; servers built with older SDKs say 400, with a JSON-RPC error or a bare text,
// which may as well be about this one request. So they are asked for something that any session may ask.
core::Awaitable<bool> Server::is_forgotten(core::Context const& context, Caller const& caller, Seat const& seat,
                                           std::shared_ptr<Session> session, int status) {
    if (session->is_modern() || spec_->transport == Transport::kStdio) co_return false;
    if (status != 400) co_return status == 404;
    if (seat.session != session) co_return true; // somebody has found that out
    Request ping{"ping"};
    ping.idle_timeout = kPingPatience;
    ping.timeout = kPingPatience;
    auto const reply = co_await session->request(context, caller, std::move(ping));
    auto const said = reply ? reply->http_status : reply.error().upstream_status;
    co_return said == 400 || said == 404;
}

// A request took too long. Does anything come from the server still? One that stands still would be asked in vain until
// somebody ends it: it gets as much time again, and is replaced. Source: specification 2025-11-25, "Ping".
core::Awaitable<void> Server::question(std::shared_ptr<Seat> seat, Caller caller) {
    auto const session = seat->session;
    auto const is_stateless = session && session->is_modern() && spec_->transport != Transport::kStdio;
    if (!session || session->is_lost() || is_stateless || seat->in_question) co_return;
    seat->in_question = true;
    auto const began = steady_clock::now();
    Request ping{session->is_modern() ? "server/discover" : "ping"};
    ping.idle_timeout = std::max(spec_->call_idle_timeout, kPatience);
    ping.timeout = ping.idle_timeout;
    core::Context const context{life_};
    auto const reply = co_await session->request(context, caller, std::move(ping));
    seat->in_question = false;
    auto const is_silent =
        !reply && reply.error().code == Errc::kUpstreamTimeout && session->heard_at() < began && !session->is_lost();
    if (!is_silent) co_return;
    leave(*seat, session, make_error(Errc::kUpstreamUnavailable, "It answered nothing any more, not even a ping."));
}

core::Task<Reply> Server::call_once(core::Context const& context, Caller const& caller, Seat& seat,
                                    Request const& request) {
    for (auto attempt = 0;; ++attempt) {
        auto const session = co_await this->session(context, caller, seat);
        if (!session) {
            auto error = session.error();
            error.should_retry = true; // nobody was asked
            co_return error;
        }
        auto const& current = *session;
        auto copy = request;
        if (current->is_modern()) {
            auto const name = text_in(request.params, "name");
            if (!seat.list && request.method == "tools/call") { // what goes into headers is in the list
                auto const listed = co_await list(context, caller, seat);
                (void)listed; // the call itself tells what is wrong
            }
            auto const found = seat.param_headers.find(name);
            if (found != seat.param_headers.end()) copy.param_headers = found->second;
        }
        auto reply = co_await current->request(context, caller, std::move(copy));
        if (reply && seat.session == current) prove(seat);
        if (attempt != 0) co_return reply;
        auto const stale_headers = reply && reply->error && reply->error->code == kHeaderMismatch;
        if (stale_headers) {
            seat.list_until = {};
            seat.list = nullptr;
            continue;
        }
        auto const forgotten = co_await is_forgotten(context, caller, seat, current, refusal_of(reply));
        if (forgotten) {
            if (seat.session == current) let_end(seat);
            continue;
        }
        if (reply || !is_unheard(reply.error(), *current)) co_return reply;
        leave(seat, current, reply.error());
    }
}

core::Task<CallResult> Server::call(core::Context const& context, Caller const& caller, std::string tool,
                                    std::string arguments, std::function<void(Progress const&)> on_progress) {
    auto const is_blank = arguments.find_first_not_of(" \t\r\n") == std::string::npos;
    auto parsed = core::json_tree(is_blank ? "{}" : std::string_view(arguments));
    if (!parsed || !parsed->is_object()) { // never called with others than were given
        auto result = told("The arguments are no JSON object.", false);
        result.reached_tool = false;
        co_return result;
    }
    Guest const guest(*this);
    auto const entered = co_await enter(context);
    if (!entered) co_return entered.error();
    ++calls_;
    auto& seat = seat_of(caller);
    ++seat.users;
    auto const began = steady_clock::now();
    Request request{"tools/call"};
    request.params = {{"name", tool}};
    request.params["arguments"] = std::move(*parsed);
    request.on_progress = std::move(on_progress);
    request.idle_timeout = spec_->call_idle_timeout;
    request.timeout = spec_->call_timeout;
    auto const reply = co_await call_once(context, caller, seat, request);
    --seat.users;
    --calls_;
    seat.last_used = steady_clock::now();
    call_ended_.notify_all();
    auto const seconds = std::chrono::duration<double>(seat.last_used - began).count();
    auto const count = [&](char const* outcome) {
        metrics_.counter(kCalls, {{"server", spec_->label}, {"outcome", outcome}}).add();
        metrics_.histogram(kCallSeconds, {{"server", spec_->label}}).observe_seconds(seconds);
    };
    if (!reply) {
        auto const code = reply.error().code;
        count(code == Errc::kCancelled ? "cancelled" : code == Errc::kUpstreamTimeout ? "timeout" : "failed");
        if (code == Errc::kUpstreamTimeout) tasks_.spawn(question(seat.shared_from_this(), caller));
        if (code == Errc::kCancelled || code == Errc::kDeadlineExceeded) co_return reply.error();
        auto const unknown = may_be_done(reply.error());
        auto result = told(reply.error().message, unknown);
        result.reached_tool = unknown;
        co_return result;
    }
    if (reply->error) {
        count("refused");
        auto result = told(
            "It says: " + plain_text(reply->error->message, 2'000) + " (" + std::to_string(reply->error->code) + ")",
            false);
        result.reached_tool = reply->error->code != kInvalidParams && reply->error->code != kMethodNotFound;
        co_return result;
    }
    auto result = read_call_result(reply->result, spec_->result_bytes_max);
    count(result.is_error ? "tool_error" : "ok");
    co_return result;
}

} // namespace parley::mcp

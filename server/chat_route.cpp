// POST /v1/chat/completions: from the request's bytes to a run, and from its events to the client's bytes.
// Member functions of the loop's Gateway; one coroutine per request.
#include <algorithm>
#include <charconv>
#include <ctime>
#include <utility>
#include <variant>
#include <vector>

#include "agents/run.hpp"
#include "core/json.hpp"
#include "server/api_error.hpp"
#include "server/chat_request.hpp"
#include "server/chat_writer.hpp"
#include "server/gateway.hpp"

namespace parley::server {
namespace {

using core::Errc;
using std::chrono::steady_clock;

constexpr std::string_view kHeartbeat = ": keep-alive\n\n";

// The SDKs say how long they will wait (X-Stainless-Timeout, seconds): a run need not outlive that.
core::SteadyTime run_deadline(agents::AgentConfig const& agent, net::RequestHead const& head,
                              core::SteadyTime started) {
    auto seconds = agent.limits.timeout_s;
    auto const told = head.get("x-stainless-timeout");
    double client = 0;
    auto const [end, error] = std::from_chars(told.data(), told.data() + told.size(), client);
    if (error == std::errc{} && end == told.data() + told.size() && client >= 1 &&
        client < static_cast<double>(seconds)) {
        seconds = static_cast<std::int64_t>(client);
    }
    return started + std::chrono::seconds(seconds);
}

// Counts a request for as long as it lives; refused() when there is no room for it.
class Admitted {
public:
    Admitted(GatewayShared const& shared, core::Counter& gauge) : shared_(shared), gauge_(gauge) {
        gauge_.add(1);
        if (shared_.requests_max == 0) return; // the shared counter is touched only where it is needed
        refused_ = shared_.requests.fetch_add(1, std::memory_order_relaxed) >= shared_.requests_max;
    }
    ~Admitted() {
        gauge_.add(-1);
        if (shared_.requests_max != 0) shared_.requests.fetch_sub(1, std::memory_order_relaxed);
    }
    Admitted(Admitted const&) = delete;
    Admitted& operator=(Admitted const&) = delete;

    bool refused() const noexcept { return refused_; }

private:
    GatewayShared const& shared_;
    core::Counter& gauge_;
    bool refused_ = false;
};

net::Response stream_head() {
    net::Response head{200, {}, "text/event-stream; charset=utf-8", {}, false};
    head.headers = {{"cache-control", "no-cache"}, {"x-accel-buffering", "no"}};
    return head;
}

core::Result<agents::Agent const*> usable_agent(agents::Catalogue const& catalogue, std::string const& model) {
    auto const* const agent = catalogue.find(model);
    if (!agent) return agents::model_not_found(model);
    if (!agent->candidates.empty()) return agent;
    auto error = core::make_error(Errc::kAgentUnavailable,
                                  "The agent '" + model + "' is not available: " + agent->unavailable, "model");
    error.should_retry = false;
    return error;
}

} // namespace

core::Awaitable<void> Gateway::chat(net::Request request, net::Exchange& exchange, RequestState& state) {
    auto const catalogue = catalogue_; // of the whole run, whatever is reloaded meanwhile
    auto parsed = parse_chat_request(std::move(request.body));
    if (!parsed) co_return fail(exchange, state, parsed.error());
    auto const agent = usable_agent(*catalogue, parsed->model);
    if (!agent) co_return fail(exchange, state, agent.error());
    auto const& config = (*agent)->config;
    state.agent = config.agent_id;
    state.stream = parsed->stream;

    auto turn = parsed->turn();
    auto const tools = agents::apply_client_tools(config, turn);
    if (!tools) co_return fail(exchange, state, tools.error());
    Admitted const admitted(shared_, metrics_.in_flight);
    if (admitted.refused()) {
        auto error = core::make_error(Errc::kOverloaded, "Too many requests are under way. Please try again shortly.");
        error.retry_after = std::chrono::seconds(1);
        co_return fail(exchange, state, error);
    }

    core::Context const context{exchange.cancellation(), run_deadline(config, request.head, request.started),
                                state.request_id};
    agents::Run run(session_, context, **agent, turn);
    ChatReplyHead head;
    head.id = loop_.ids().make("chatcmpl-");
    head.created = std::time(nullptr);
    head.model = parsed->model;
    head.include_usage = parsed->include_usage;
    head.choices = parsed->n;
    if (parsed->stream) {
        co_await stream_run(run, std::move(head), exchange, state);
    } else {
        co_await collect_run(run, std::move(head), exchange, state);
    }
    state.attempts = run.attempts();
    state.answered_by = run.answered_by().agent_id;
    state.usage = run.usage();
    for (auto const& error : run.overcome()) {
        metrics_.count_fallback(config.agent_id);
        loop_.log()
            .warn("fallback")
            .add("request_id", state.request_id)
            .add("agent", config.agent_id)
            .add("error", core::code_name(error.code))
            .add("reason", error.message);
    }
}

void Gateway::mark_first_token(RequestState& state) {
    if (state.first_token) return;
    state.first_token = steady_clock::now();
    metrics_.first_token.observe_seconds(std::chrono::duration<double>(*state.first_token - state.started).count());
}

core::Awaitable<void> Gateway::stream_run(agents::Run& run, ChatReplyHead head, net::Exchange& exchange,
                                          RequestState& state) {
    ChatStreamWriter writer(std::move(head));
    std::vector<chat::RunEvent> events;
    std::string out;
    auto const start = [&] {
        if (exchange.stream_started()) return;
        auto response = stream_head();
        state.status = response.status;
        decorate(response, state);
        exchange.start_stream(std::move(response), kHeartbeat);
    };
    // A model that thinks for long must not look dead: after a while the stream begins with comments alone.
    net::OnDeadline commit(loop_, start);
    commit.after(shared_.commit_stream_after);
    auto reading = true;
    while (reading) {
        events.clear();
        out.clear();
        auto const more = co_await run.next(events);
        commit.never();
        if (!events.empty()) mark_first_token(state);
        if (!more && !exchange.stream_started() && events.empty()) {
            co_return fail(exchange, state, Gateway::told_error(more.error(), exchange));
        }
        start();
        writer.write(events, out);
        if (!more) {
            auto const error = Gateway::told_error(more.error(), exchange);
            note(state, error);
            writer.fail(error, out);
        } else if (!*more) {
            writer.finish(out);
        }
        reading = more && *more;
        auto const taken = co_await exchange.write(out);
        if (!taken) break;
        if (reading && events.empty()) commit.after(shared_.commit_stream_after);
    }
    exchange.finish();
    auto& ended = exchange.client_gone()     ? metrics_.streams_abandoned
                  : state.error_code.empty() ? metrics_.streams_complete
                                             : metrics_.streams_failed;
    ended.add();
}

core::Awaitable<void> Gateway::collect_run(agents::Run& run, ChatReplyHead head, net::Exchange& exchange,
                                           RequestState& state) {
    ChatJsonWriter writer(std::move(head));
    std::vector<chat::RunEvent> events;
    auto reading = true;
    while (reading) {
        events.clear();
        auto const more = co_await run.next(events);
        if (!more) co_return fail(exchange, state, Gateway::told_error(more.error(), exchange));
        if (!events.empty()) mark_first_token(state);
        writer.write(events);
        reading = *more;
    }
    net::Response response;
    writer.finish(response.body);
    answer(exchange, state, std::move(response));
}

} // namespace parley::server

// POST /v1/chat/completions: from the request's bytes to a run, and from its events to the client's bytes.
// Member functions of the loop's Gateway; one coroutine per request.
#include <algorithm>
#include <charconv>
#include <ctime>
#include <utility>
#include <variant>
#include <vector>

#include "agents/given_answer.hpp"
#include "agents/run.hpp"
#include "core/json.hpp"
#include "server/background_task.hpp"
#include "server/chat_request.hpp"
#include "server/chat_writer.hpp"
#include "server/gateway.hpp"
#include "server/idempotency.hpp"
#include "server/open_webui.hpp"
#include "server/pages.hpp"
#include "server/task_answer.hpp"
#include "server/tool_display.hpp"

namespace parley::server {
namespace {

using core::Errc;
using std::chrono::steady_clock;

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

core::Result<> check_usable(agents::Agent const* agent, std::string const& model) {
    if (!agent) return agents::model_not_found(model);
    if (!agent->candidates.empty()) return {};
    auto error = core::make_error(Errc::kAgentUnavailable,
                                  "The agent '" + model + "' is not available: " + agent->unavailable, "model");
    error.should_retry = false;
    return error;
}

// A request that tells the whole conversation has to tell the calls that it answers, too.
bool tells_all(agents::ConversationAsk const& ask, agents::Agent const& agent, ChatRequest const& request) {
    bool const has_answers =
        std::ranges::find(request.messages, chat::Role::kAssistant, &chat::Message::role) != request.messages.end();
    return ask.resends || has_answers || agent.config.history == agents::HistoryMode::kClient;
}

// Who is behind the calls of tools; nobody when there are none.
mcp::Caller tool_caller(agents::Agent const& agent, net::RequestHead const& head, RequestState const& state) {
    mcp::Caller caller;
    if (agent.tools->empty()) return caller;
    caller.principal = state.principal;
    caller.user_id = state.user_id;
    caller.session_id = head.get("x-session-id");
    caller.agent_id = agent.config.agent_id;
    caller.request_id = state.request_id;
    for (auto const& server : agent.tools->specs) {
        for (auto const& name : server->forward_headers) {
            auto const known = [&name](auto const& header) { return header.first == name; };
            auto const value = head.get(name);
            if (!value.empty() && std::ranges::none_of(caller.headers, known)) caller.headers.emplace_back(name, value);
        }
    }
    return caller;
}

// What is answered to a background task without a model; nullopt where one has to do it.
std::optional<std::string> task_content(agents::TaskPolicy policy, BackgroundTask task, ChatRequest const& request) {
    auto const prompt = request.messages.empty() ? std::string_view{} : request.messages.back().content;
    if (policy == agents::TaskPolicy::kAgent || !prompt.starts_with('"')) return std::nullopt;
    if (policy == agents::TaskPolicy::kEmpty) return empty_task_answer(task);
    return heuristic_task_answer(task, core::json_body_to_text(core::strip_quotes(prompt)));
}

std::string_view attempt_name(agents::AttemptPlan::Kind kind) {
    switch (kind) {
        case agents::AttemptPlan::Kind::kEndpoint:
            return "endpoint";
        case agents::AttemptPlan::Kind::kFallback:
            return "fallback";
        case agents::AttemptPlan::Kind::kRetry:
            return "retry";
    }
    return "retry";
}

StoredAnswer given_content(std::string content) {
    StoredAnswer answer;
    std::string body;
    core::append_json_body(body, content);
    answer.events.emplace_back(chat::TextDelta{answer.made.emplace_back(std::move(body))});
    answer.events.emplace_back(chat::ChoiceEnd{});
    answer.events.emplace_back(chat::UsageReport{});
    return answer;
}

ChatReply reply_to(ChatRequest const& request, std::string id, ToolDisplay display) {
    ChatReply reply;
    reply.stream = request.stream;
    reply.head.id = std::move(id);
    reply.head.created = std::time(nullptr);
    reply.head.model = request.model;
    reply.head.include_usage = request.include_usage;
    reply.head.choices = request.n;
    reply.head.tools = display;
    return reply;
}

} // namespace

core::Awaitable<void> Gateway::chat(net::Request& request, net::Exchange& exchange, RequestState& state) {
    auto const catalogue = catalogue_; // of the whole run, whatever is reloaded meanwhile
    auto parsed = parse_chat_request(std::move(request.body));
    if (!parsed) co_return fail(exchange, state, parsed.error());
    auto const* const agent = visible_agent(*catalogue, parsed->model, state.key.get());
    if (agent) state.agent = agent->config.agent_id;
    state.stream = parsed->stream;
    auto ask = conversation_ask(request.head, *parsed, shared_.session_headers);
    if (!ask) co_return fail(exchange, state, ask.error());
    auto const task = background_task(request.head, *parsed);
    bool const is_task = task != BackgroundTask::kNone;
    state.task = task_name(task);
    if (!agent || is_task || !agents::has_memory(agent->config)) ask->reset();
    if (parsed->stray_result && (!*ask || tells_all(**ask, *agent, *parsed)))
        co_return fail(exchange, state, *parsed->stray_result);
    auto const display = tool_display(agent ? agent->config.tool_progress : agents::ToolProgress::kAuto, request.head);
    if (!display) co_return fail(exchange, state, display.error());

    auto reply = reply_to(*parsed, loop_.ids().make("chatcmpl-"), *display);
    reply.without_tools = is_task && agent && agent->config.task_policy != agents::TaskPolicy::kAgent;
    if (is_task && agent) {
        if (auto content = task_content(agent->config.task_policy, task, *parsed)) {
            metrics_.count_task();
            co_return co_await send_whole(given_content(std::move(*content)), reply, exchange, state);
        }
    }
    if (request.head.count(kIdempotencyHeader) != 0 && shared_.idempotency) {
        auto found = co_await claim_answer(request.head, *parsed, exchange, state);
        if (!found) co_return fail(exchange, state, found.error());
        if (found->answer) {
            auto stored = read_stored_answer(*found->answer);
            if (!stored) co_return fail(exchange, state, stored.error());
            co_return co_await replay(std::move(*stored), reply, exchange, state);
        }
        reply.kept = std::make_unique<KeptAnswer>(std::move(found->claim), reply.head);
    }

    auto const usable = check_usable(agent, parsed->model);
    if (!usable) co_return fail(exchange, state, usable.error());
    if (agent->config.client_tools == agents::ClientTools::kAuto && is_open_webui(request.head)) {
        if (auto kept = without_built_in_tools(parsed->tools)) parsed->offer_only(std::move(*kept));
    }
    auto turn = parsed->turn();
    auto const tools = agents::apply_client_tools(agent->config, turn);
    if (!tools) co_return fail(exchange, state, tools.error());
    Admission::Place const place(shared_.admission, metrics_.in_flight);
    if (!place.has_room()) co_return fail(exchange, state, Admission::too_many());
    core::Context const context{exchange.cancellation(), run_deadline(agent->config, request.head, request.started),
                                state.request_id};
    std::optional<policy::Reservation> reservation;
    if (state.key && state.key->limits.any()) {
        auto reserved = co_await reserve_run(*agent, *parsed, context, state);
        if (!reserved) co_return fail(exchange, state, Gateway::told_error(reserved.error(), exchange));
        reservation = std::move(*reserved);
    }
    auto caller = tool_caller(*agent, request.head, state);
    if (*ask) {
        (*ask)->key.principal = owner_of(state);
        state.conversation = (*ask)->key.session;
        co_await chat_remembered(catalogue, *agent, turn, context, std::move(caller), std::move(**ask), reply, exchange,
                                 state);
    } else {
        co_await run_chat(*agent, turn, context, std::move(caller), nullptr, reply, exchange, state);
    }
    if (reservation) co_await settle(std::move(*reservation), state, exchange.client_gone());
}

std::string Gateway::owner_of(RequestState const& state) {
    return state.user_id.empty() ? state.principal : user_principal(state.user_id);
}

core::Awaitable<void> Gateway::chat_remembered(std::shared_ptr<agents::Catalogue const> catalogue,
                                               agents::Agent const& agent, chat::Turn turn,
                                               core::Context const& context, mcp::Caller caller,
                                               agents::ConversationAsk ask, ChatReply& reply, net::Exchange& exchange,
                                               RequestState& state) {
    agents::ConversationTurn conversation(conversations_, context, agent, turn, std::move(ask), loop_.executor());
    auto const recalled = co_await conversation.recall();
    if (!recalled) co_return fail(exchange, state, Gateway::told_error(recalled.error(), exchange));
    if (auto const* const given = conversation.given_before()) {
        auto told = agents::given_answer(*given);
        StoredAnswer stored{reply.head, std::move(told.events), nullptr, std::move(told.made)};
        stored.head.created = given->created_ms / 1000;
        reply.kept.reset(); // the store has the answer: whoever asks next need not wait until this one is out
        co_return co_await replay(std::move(stored), reply, exchange, state);
    }
    co_await run_chat(agent, conversation.turn(), context, std::move(caller), &conversation, reply, exchange, state);
    co_await conversation.settled();
    if (auto const& use = conversation.context_use()) summariser_.consider(std::move(catalogue), agent, *use);
}

core::Awaitable<void> Gateway::run_chat(agents::Agent const& agent, chat::Turn turn, core::Context const& context,
                                        mcp::Caller caller, agents::ConversationTurn* conversation, ChatReply& reply,
                                        net::Exchange& exchange, RequestState& state) {
    agents::Run run(session_, context, agent, turn, tools_, std::move(caller), reply.without_tools, conversation);
    if (reply.stream) {
        co_await stream_run(run, reply, exchange, state);
    } else {
        co_await collect_run(run, reply, exchange, state);
    }
    auto const& answered_by = run.answered_by();
    state.answered_by = answered_by.agent_id;
    state.usage = run.usage();
    state.model_asked = run.attempts() != 0;
    if (answered_by.price) state.cost = agents::cost_of(*answered_by.price, *state.usage);
    for (auto const& [error, failed, then] : run.overcome()) {
        auto const what = attempt_name(then);
        metrics_.count_attempt(state.agent, what);
        loop_.log()
            .warn(what)
            .add("request_id", state.request_id)
            .add("agent", state.agent)
            .add("after", failed)
            .add("error", core::code_name(error.code))
            .add("reason", error.message);
    }
}

void Gateway::mark_first_token(RequestState& state) {
    if (state.first_token) return;
    state.first_token = steady_clock::now();
    metrics_.first_token.observe_seconds(std::chrono::duration<double>(*state.first_token - state.started).count());
}

// Counted as they end, so that a run that fails later still shows what it did.
void Gateway::note_tools(RequestState& state, std::span<chat::RunEvent const> events) {
    for (auto const& event : events) {
        if (auto const* const ended = std::get_if<chat::ToolEnded>(&event)) {
            ++state.tool_calls;
            metrics_.count_tool_call(ended->is_error, ended->duration_ms);
        } else if (auto const* const report = std::get_if<chat::UsageReport>(&event); report && report->agent) {
            state.agent_usage = report->agent;
        }
    }
}

void Gateway::begin_stream(net::Exchange& exchange, RequestState& state) {
    if (exchange.stream_started()) return;
    net::Response response{200, {}, "text/event-stream; charset=utf-8", {}, false};
    response.headers = {{"cache-control", "no-cache"}, {"x-accel-buffering", "no"}};
    state.status = response.status;
    decorate(response, state);
    exchange.start_stream(std::move(response), ": keep-alive\n\n");
}

core::Awaitable<void> Gateway::stream_run(agents::Run& run, ChatReply& reply, net::Exchange& exchange,
                                          RequestState& state) {
    ChatStreamWriter writer(reply.head);
    std::vector<chat::RunEvent> events;
    std::string out;
    // A model that thinks for long must not look dead: after a while the stream begins with comments alone.
    net::OnDeadline commit(loop_, [&] { begin_stream(exchange, state); });
    commit.after(shared_.commit_stream_after);
    auto reading = true;
    while (reading) {
        events.clear();
        out.clear();
        auto const more = co_await run.next(events);
        reading = more && *more;
        state.attempts = run.attempts();
        note_tools(state, events);
        writer.write(events, out);
        if (reply.kept) reply.kept->write(events);
        if (!out.empty()) mark_first_token(state);
        if (reading && out.empty()) continue; // tools that are not shown: an error may still be a plain one
        if (!more && out.empty() && !exchange.stream_started()) {
            co_return fail(exchange, state, Gateway::told_error(more.error(), exchange));
        }
        if (!more) {
            auto const error = Gateway::told_error(more.error(), exchange);
            note(state, error);
            writer.fail(error, out);
        } else if (!reading) {
            if (reply.kept) co_await keep_answer(*reply.kept, state);
            writer.finish(out);
        }
        commit.never();
        begin_stream(exchange, state);
        auto const taken = co_await exchange.write(out);
        if (!taken) break;
    }
    exchange.finish();
    auto& ended = exchange.client_gone()     ? metrics_.streams_abandoned
                  : state.error_code.empty() ? metrics_.streams_complete
                                             : metrics_.streams_failed;
    ended.add();
}

core::Awaitable<void> Gateway::collect_run(agents::Run& run, ChatReply& reply, net::Exchange& exchange,
                                           RequestState& state) {
    ChatJsonWriter writer(reply.head);
    std::vector<chat::RunEvent> events;
    auto reading = true;
    while (reading) {
        events.clear();
        auto const more = co_await run.next(events);
        state.attempts = run.attempts();
        note_tools(state, events);
        if (!more) co_return fail(exchange, state, Gateway::told_error(more.error(), exchange));
        if (!events.empty()) mark_first_token(state);
        writer.write(events);
        if (reply.kept) reply.kept->write(events);
        reading = *more;
    }
    if (reply.kept) co_await keep_answer(*reply.kept, state);
    net::Response response;
    writer.finish(response.body);
    answer(exchange, state, std::move(response));
}

} // namespace parley::server

// POST /v1/chat/completions, first half: from the request's bytes to a job, and to the run that it is. What is
// refused, or answered without a model, ends here. Member functions of the loop's Gateway.
#include <algorithm>
#include <charconv>
#include <ctime>
#include <utility>

#include "agents/client_tools.hpp"
#include "core/json.hpp"
#include "server/background_task.hpp"
#include "server/chat_job.hpp"
#include "server/conversation_identity.hpp"
#include "server/gateway.hpp"
#include "server/large_body.hpp"
#include "server/open_webui.hpp"
#include "server/pages.hpp"
#include "server/stored_answer.hpp"
#include "server/task_answer.hpp"
#include "server/tool_display.hpp"

namespace parley::server {
namespace {

using core::Errc;

// openai-node says how long it will wait for the head of an answer (X-Stainless-Timeout, seconds). Where that comes
// with the whole answer, a run need not outlive it.
core::SteadyTime run_deadline(agents::AgentConfig const& agent, net::RequestHead const& head, bool is_streamed,
                              core::SteadyTime started) {
    auto seconds = agent.limits.timeout_s;
    if (is_streamed) return started + std::chrono::seconds(seconds);
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

// What is answered to a background task without a model; nullopt where one has to do it.
std::optional<std::string> task_content(agents::TaskPolicy policy, BackgroundTask task, ChatRequest const& request) {
    auto const prompt = request.messages.empty() ? std::string_view{} : request.messages.back().content;
    if (policy == agents::TaskPolicy::kAgent || !prompt.starts_with('"')) return std::nullopt;
    if (policy == agents::TaskPolicy::kEmpty) return empty_task_answer(task);
    return heuristic_task_answer(task, core::json_body_to_text(core::strip_quotes(prompt)));
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

// Who is behind the calls of tools; nobody when there are none.
mcp::Caller tool_caller(ChatJob const& job, RequestState const& state) {
    auto const& agent = job.agent;
    auto const& head = job.head;
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

} // namespace

core::Task<std::unique_ptr<ChatJob>> Gateway::prepare_chat(net::Request& request, net::Exchange& exchange,
                                                           RequestState& state) {
    auto const catalogue = catalogue_;
    auto read = [&request] { return parse_chat_request(std::move(request.body)); };
    core::Result<ChatRequest> parsed;
    if (is_large(request)) {
        parsed = co_await read_beside(loop_, *shared_.readers, read);
    } else {
        parsed = read();
    }
    if (!parsed) co_return parsed.error();
    auto const* const agent = visible_agent(*catalogue, parsed->model, state.key.get());
    if (agent) state.agent = agent->config.agent_id;
    state.stream = parsed->stream;
    auto ask = conversation_ask(request.head, *parsed, shared_.session_headers);
    if (!ask) co_return ask.error();
    auto const task = background_task(request.head, *parsed);
    bool const is_task = task != BackgroundTask::kNone;
    state.task = task_name(task);
    if (!agent || is_task || !agents::has_memory(agent->config)) ask->reset();
    if (parsed->stray_result && (!*ask || tells_all(**ask, *agent, *parsed))) co_return *parsed->stray_result;
    auto const display = tool_display(agent ? agent->config.tool_progress : agents::ToolProgress::kAuto, request.head);
    if (!display) co_return display.error();

    auto reply = reply_to(*parsed, loop_.ids().make("chatcmpl-"), *display);
    reply.without_tools = is_task && agent && agent->config.task_policy != agents::TaskPolicy::kAgent;
    if (is_task && agent) {
        if (auto content = task_content(agent->config.task_policy, task, *parsed)) {
            metrics_.count_task();
            co_await send_whole(given_content(std::move(*content)), reply, exchange, state);
            co_return nullptr;
        }
    }
    if (request.head.count(kIdempotencyHeader) != 0 && shared_.idempotency) {
        auto found = co_await claim_answer(request.head, *parsed, exchange, state);
        if (!found) co_return found.error();
        if (found->answer) {
            auto stored = read_stored_answer(*found->answer);
            if (!stored) co_return stored.error();
            co_await replay(std::move(*stored), reply, exchange, state);
            co_return nullptr;
        }
        if (*ask) found->claim->belongs_to(owner_of(state), (*ask)->key.session);
        reply.kept = std::make_unique<KeptAnswer>(std::move(found->claim), reply.head);
    }

    auto const usable = check_usable(agent, parsed->model);
    if (!usable) co_return usable.error();
    if (agent->config.client_tools == agents::ClientTools::kAuto && is_open_webui(request.head)) {
        if (auto kept = without_built_in_tools(parsed->tools)) parsed->offer_only(std::move(*kept));
    }
    auto const deadline = run_deadline(agent->config, request.head, reply.stream, request.started);
    core::Context context{exchange.cancellation(), deadline, std::string(state.request_id)};
    auto job =
        std::make_unique<ChatJob>(shared_.admission, metrics_.in_flight, std::move(context), request.head, *agent);
    if (*ask) job->ask = std::make_unique<agents::ConversationAsk>(std::move(**ask));
    job->catalogue = catalogue;
    job->reply = std::move(reply);
    job->request = std::make_unique<ChatRequest const>(std::move(*parsed));
    job->turn = job->request->turn();
    auto const tools = agents::apply_client_tools(agent->config, job->turn);
    if (!tools) co_return tools.error();
    if (!job->place.has_room()) co_return Admission::too_many();
    if (state.key && state.key->limits.any()) {
        auto reserved = co_await reserve_run(*agent, *job->request, job->context, state);
        if (!reserved) co_return reserved.error();
        job->reservation = std::move(*reserved);
    }
    co_return job;
}

std::unique_ptr<agents::Run> Gateway::make_run(ChatJob const& job, agents::ConversationTurn* conversation,
                                               RequestState const& state) {
    return std::make_unique<agents::Run>(session_, job.context, job.agent,
                                         conversation ? conversation->turn() : job.turn, tools_,
                                         tool_caller(job, state), job.reply.without_tools, conversation);
}

} // namespace parley::server

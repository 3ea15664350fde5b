#include "agents/tool_loop.hpp"

#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <utility>

#include "core/json.hpp"

namespace parley::agents {
namespace {

using chat::FinishReason;
using chat::StopReason;
using Clock = std::chrono::steady_clock;

// A last answer gets a quarter of the run's time, at most this.
constexpr std::chrono::seconds kLastAnswerMax{30};
constexpr std::size_t kImagesMax = 16; // shown to the model after one round
constexpr std::size_t kImageBytesMax = 20U << 20U;

core::SteadyTime tools_deadline(core::SteadyTime deadline) {
    if (deadline == core::SteadyTime::max()) return deadline;
    auto const budget = deadline - Clock::now();
    return deadline - std::min<Clock::duration>(budget / 4, kLastAnswerMax);
}

} // namespace

ToolLoop::ToolLoop(ModelCall& model, core::Context const& context, Agent const& agent, chat::Turn const& turn,
                   ToolServices& services, mcp::Caller caller, bool is_remembered)
    : model_(model),
      context_(context),
      agent_(agent),
      asked_(turn),
      services_(services),
      caller_(std::move(caller)),
      is_remembered_(is_remembered),
      tools_deadline_(tools_deadline(context.deadline)) {}

ToolLoop::~ToolLoop() = default;

core::Task<bool> ToolLoop::next(std::vector<chat::RunEvent>& events) {
    auto const had = events.size();
    auto const executor = co_await boost::asio::this_coro::executor;
    for (;;) {
        if (phase_ == Phase::kPrepare) {
            auto const ready = co_await prepare();
            if (!ready) co_return failed(ready.error());
        } else if (phase_ == Phase::kPlain) {
            auto const more = co_await model_.next(asked_, events);
            if (!more) co_return more.error();
            co_return *more;
        } else if (phase_ == Phase::kModel) {
            auto const more = co_await model_.next(turn_, events, this);
            if (!more) co_return failed(more.error());
            if (*more) co_return true;
            end_round(events, executor);
        } else if (phase_ == Phase::kTools) {
            auto const more = co_await round_->next(events);
            if (!more) {
                note_ran();
                co_return failed(more.error());
            }
            if (*more) co_return true;
            end_tools(events);
        }
        if (phase_ == Phase::kDone) co_return false;
        if (events.size() > had) co_return true; // their views die with the next wait
    }
}

// ---- before the first round

core::Task<> ToolLoop::prepare() {
    auto const choices = setting("n");
    bool const several = !choices.empty() && choices != "1" && choices != "null";
    if (several && !agent_.tools->servers.empty()) {
        co_return core::make_error(
            core::Errc::kUnsupportedValue,
            "The agent '" + agent_.config.agent_id + "' uses tools, so it gives one answer per request: 'n' must be 1.",
            "n");
    }
    if (several) { // the built-in tools alone are no reason to refuse
        phase_ = Phase::kPlain;
        co_return core::Result<>();
    }
    auto const known = co_await lists();
    if (!known) co_return known.error();
    set_ = services_.sets.get(agent_.tools, *known);
    if (set_->empty()) { // all servers are unavailable: it answers without them
        phase_ = Phase::kPlain;
        co_return core::Result<>();
    }
    auto client = read_client_tools(asked_, *set_);
    if (!client) co_return client.error();
    client_ = std::move(*client);
    splice_parked();
    begin_round();
    co_return core::Result<>();
}

core::Task<std::vector<mcp::ServerTools>> ToolLoop::lists() {
    if (agent_.tools->specs.empty()) co_return std::vector<mcp::ServerTools>();
    auto known = co_await services_.host.tools(context_, caller_, agent_.tools->specs);
    co_return known;
}

// The client's history knows only its own calls of a mixed round; what the agent did is put back in their place.
void ToolLoop::splice_parked() {
    if (is_remembered_ || services_.parked.empty()) return;
    std::string asked;
    std::vector<chat::Message> spliced;
    auto const now = Clock::now();
    for (auto const& message : asked_.messages) {
        if (message.role == chat::Role::kUser) asked += message.content;
        auto const ids = client_calls_of(message);
        std::shared_ptr<ParkedTurn const> turn;
        if (!ids.empty()) {
            turn = services_.parked.find(ParkedCalls::key(caller_, agent_.config.agent_id, asked, ids.front()), now);
        }
        if (!turn || turn->client_call_ids != ids) {
            spliced.push_back(message);
            continue;
        }
        for (auto const& own : turn->messages)
            spliced.push_back(own.view());
        spliced_.push_back(std::move(turn));
    }
    if (!spliced_.empty()) messages_ = std::move(spliced);
}

std::vector<std::string> ToolLoop::client_calls_of(chat::Message const& message) const {
    if (message.role != chat::Role::kAssistant || message.plain) return {};
    return tool_call_ids(message.json);
}

// ---- rounds

void ToolLoop::begin_round() {
    if (!first_round_) model_.begin_again();
    record_.begin(last_round_.has_value());
    turn_ = asked_;
    turn_.keep_reasoning = true;
    if (!messages_.empty()) turn_.messages = messages_;
    if (last_round_) {
        turn_.tool_choice = R"("none")";
    } else if (first_round_) {
        turn_.tool_choice = client_.tool_choice;
    } else if (client_.forced || agent_.config.model_settings.contains("tool_choice")) {
        turn_.tool_choice = R"("auto")"; // what forced the first call must not force one for ever
    } else {
        turn_.tool_choice = client_.tool_choice;
    }
    first_round_ = false;
    phase_ = Phase::kModel;
}

chat::Turn const& ToolLoop::turn_for(Candidate const& candidate) {
    auto const profile = schema_profile(candidate.model_name);
    auto const& own = set_->json(profile);
    turn_.tools = own;
    if (client_.elements.empty()) return turn_;
    auto& merged = merged_tools_[profile == SchemaProfile::kGemini ? 1 : 0];
    if (merged.empty()) merged = own.substr(0, own.size() - 1) + "," + client_.elements + "]";
    turn_.tools = merged;
    return turn_;
}

void ToolLoop::take(std::vector<chat::RunEvent>& events, std::size_t from) {
    reports_.clear();
    record_.take(events, from, reports_);
    for (auto const& report : reports_)
        model_.count(report);
}

void ToolLoop::end_round(std::vector<chat::RunEvent>& events, core::Executor const& executor) {
    ++usage_.llm_calls;
    usage_.last_prompt_tokens = model_.last_prompt_tokens();
    auto const reason = record_.reason();
    closing_text_ = record_.text();
    if (last_round_)
        return finish(reason == FinishReason::kToolCalls ? FinishReason::kStop : reason, *last_round_, events);
    if (record_.calls().empty()) // a model that announces calls and makes none has stopped
        return finish(reason == FinishReason::kToolCalls ? FinishReason::kStop : reason, StopReason::kCompleted,
                      events);
    if (reason == FinishReason::kLength || reason == FinishReason::kContentFilter) // cut: its calls are not whole
        return finish(reason, StopReason::kCompleted, events);
    closing_text_.clear();
    add(record_.message());
    if (record_.client_calls() == record_.calls().size()) {
        if (own_.size() > 1) park();
        return finish(FinishReason::kToolCalls, StopReason::kClientTools, events);
    }
    begin_tools(executor);
}

void ToolLoop::begin_tools(core::Executor const& executor) {
    auto const& limits = agent_.config.limits;
    std::vector<AgentCall> calls;
    bool const is_late = Clock::now() >= tools_deadline_;
    for (auto const& call : record_.calls()) {
        if (call.client_index >= 0) continue;
        auto& made = calls.emplace_back();
        made.id = core::json_body_to_text(call.id);
        made.name = core::json_body_to_text(call.name);
        made.arguments = core::json_body_to_text(call.arguments);
        made.tool = set_->find(made.name);
        if (++usage_.tool_calls_requested > limits.max_tool_calls) {
            made.refused = "Not run: this answer may call " + std::to_string(limits.max_tool_calls) + " tools at most.";
        } else if (is_late) {
            made.refused = "Not run: no time is left for tools.";
        }
    }
    ++usage_.tool_rounds;
    ToolRound::Limits const round{
        one_at_a_time() ? 1 : static_cast<std::size_t>(std::max<std::int64_t>(1, limits.parallel_tool_calls_max)),
        tools_deadline_};
    round_ = std::make_unique<ToolRound>(services_, context_, caller_, round, executor, std::move(calls));
    phase_ = Phase::kTools;
}

void ToolLoop::end_tools(std::vector<chat::RunEvent>& events) {
    note_ran();
    bool const is_mixed = record_.client_calls() > 0;
    add_results(agent_.config.vision && !is_mixed); // the client's results must follow the calls at once
    auto const limit = limit_reached();
    round_.reset();
    if (is_mixed) {
        park();
        return finish(FinishReason::kToolCalls, StopReason::kClientTools, events);
    }
    last_round_ = limit;
    begin_round();
}

std::optional<StopReason> ToolLoop::limit_reached() const {
    auto const& limits = agent_.config.limits;
    if (round_->out_of_time() || Clock::now() >= tools_deadline_) return StopReason::kTimeout;
    if (limits.max_total_tokens > 0 && model_.usage().total_tokens() >= limits.max_total_tokens)
        return StopReason::kMaxTotalTokens;
    if (usage_.tool_calls_requested >= limits.max_tool_calls) return StopReason::kMaxToolCalls;
    if (usage_.tool_rounds >= limits.max_tool_rounds) return StopReason::kMaxToolRounds;
    return std::nullopt;
}

void ToolLoop::finish(FinishReason reason, StopReason stop, std::vector<chat::RunEvent>& events) {
    usage_.stop_reason = stop;
    events.emplace_back(chat::ChoiceEnd{reason});
    events.emplace_back(chat::UsageReport{model_.usage(), usage_});
    phase_ = Phase::kDone;
}

core::Error ToolLoop::failed(core::Error error) {
    if (tools_ran_) error.should_retry = false; // what has happened must not happen twice
    return error;
}

// ---- what the rounds leave behind

std::vector<LoopMessage> ToolLoop::answer() const {
    std::vector<LoopMessage> out(own_.begin(), own_.end());
    if (!closing_text_.empty()) out.push_back(plain_message(chat::Role::kAssistant, '"' + closing_text_ + '"'));
    return out;
}

void ToolLoop::add(LoopMessage message) {
    if (messages_.empty()) messages_.assign(asked_.messages.begin(), asked_.messages.end());
    own_.push_back(std::move(message));
    messages_.push_back(own_.back().view());
}

void ToolLoop::add_results(bool show_images) {
    std::vector<std::pair<std::string, mcp::Image>> shown;
    std::size_t shown_bytes = 0;
    for (auto const& call : round_->calls()) {
        auto text = call.text;
        for (auto const& image : call.images) {
            auto const fits = shown.size() < kImagesMax && shown_bytes + image.base64.size() <= kImageBytesMax;
            if (!text.empty()) text += '\n';
            if (show_images && fits) {
                shown.emplace_back(call.name, image);
                shown_bytes += image.base64.size();
                text += "[An image (" + image.mime_type + ") follows.]";
            } else {
                text += "[An image (" + image.mime_type + ", " + std::to_string(image.base64.size() / 4 * 3) +
                        " bytes) that cannot be shown here.]";
            }
        }
        std::string id;
        core::append_json_body(id, call.id);
        add(tool_message(id, text));
    }
    if (!shown.empty()) add(images_message(shown));
}

void ToolLoop::note_ran() {
    for (auto const& call : round_->calls()) {
        if (call.executed) ++usage_.tool_calls_executed;
        if (call.executed && call.is_error) ++usage_.tool_calls_failed;
        if (call.reached_tool && !call.tool->read_only) tools_ran_ = true;
    }
}

// The own messages of this run, for the request in which the client answers its calls.
void ToolLoop::park() {
    if (is_remembered_) return;
    auto turn = std::make_shared<ParkedTurn>();
    for (auto const& call : record_.calls()) {
        if (call.client_index >= 0) turn->client_call_ids.push_back(core::json_body_to_text(call.id));
    }
    turn->messages.assign(own_.begin(), own_.end());
    std::string asked;
    for (auto const& message : asked_.messages) {
        if (message.role == chat::Role::kUser) asked += message.content;
    }
    auto key = ParkedCalls::key(caller_, agent_.config.agent_id, asked, turn->client_call_ids.front());
    services_.parked.park(std::move(key), std::move(turn), Clock::now());
}

bool ToolLoop::one_at_a_time() const {
    auto const* const own = agent_.config.model_settings.if_contains("parallel_tool_calls");
    return setting("parallel_tool_calls") == "false" || (own != nullptr && own->is_bool() && !own->get_bool());
}

std::string_view ToolLoop::setting(std::string_view name) const {
    auto const found = std::find_if(asked_.settings.begin(), asked_.settings.end(),
                                    [name](chat::Setting const& one) { return one.name == name; });
    return found == asked_.settings.end() ? std::string_view{} : found->json;
}

} // namespace parley::agents

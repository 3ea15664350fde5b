#include "agents/run.hpp"

#include "agents/answer_record.hpp"
#include "agents/conversation_turn.hpp"
#include "agents/tool_loop.hpp"

namespace parley::agents {

// The conversation of the run, and what is known of the answer.
struct Run::Remembered final : BeforeAnswer {
    explicit Remembered(ConversationTurn& of) : conversation(of) {}
    core::Task<> done() override { return conversation.stored(); }

    ConversationTurn& conversation;
    AnswerRecord record;
    bool is_begun = false;
    bool is_complete = false; // nothing but the end is left to be told
    bool has_history = true;
};

Run::Run(providers::Session& session, core::Context const& context, Agent const& agent, chat::Turn turn,
         ToolServices& tools, mcp::Caller caller, bool without_tools, ConversationTurn* conversation)
    : context_(context),
      turn_(turn),
      remembered_(conversation ? std::make_unique<Remembered>(*conversation) : nullptr),
      model_(session, context, agent, remembered_.get()) {
    if (without_tools || agent.tools->empty()) return;
    loop_ =
        std::make_unique<ToolLoop>(model_, context_, agent, turn_, tools, std::move(caller), conversation != nullptr);
}

Run::~Run() = default;

core::Task<bool> Run::next(std::vector<chat::RunEvent>& events) {
    return remembered_ ? ask_and_remember(events) : ask(events);
}

core::Task<bool> Run::ask(std::vector<chat::RunEvent>& events) {
    return loop_ ? loop_->next(events) : model_.next(turn_, events);
}

core::Task<bool> Run::ask_and_remember(std::vector<chat::RunEvent>& events) {
    auto& all = *remembered_;
    if (!all.is_begun) all.conversation.begin_storing();
    all.is_begun = true;
    while (!all.is_complete) {
        auto const had = events.size();
        auto const more = co_await ask(events);
        all.record.take(events, had);
        if (all.has_history && !reads_turn()) {
            all.conversation.let_go_of_history();
            all.has_history = false;
        }
        if (!more) { // what was said is stored all the same, before anybody can say the next thing
            (void)co_await all.conversation.stored();
            co_return more.error();
        }
        all.is_complete = !*more;
        if (events.size() > had) co_return true; // their views die with the next wait
    }
    auto messages = loop_ ? loop_->answer() : std::vector<LoopMessage>();
    auto const stored = co_await all.conversation.store_answer(all.record, std::move(messages));
    if (!stored) {
        auto error = stored.error();
        if (tools_ran()) error.should_retry = false;
        co_return error;
    }
    all.record.release(events);
    co_return false;
}

chat::AgentUsage const* Run::agent_usage() const noexcept {
    return loop_ && loop_->has_tools() ? &loop_->agent_usage() : nullptr;
}

bool Run::tools_ran() const noexcept {
    return loop_ && loop_->tools_ran();
}

} // namespace parley::agents

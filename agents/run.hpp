// One run: what happens inside one request. Asks the agent's model, runs the tools that it asks for, and hands up what
// a client may see. Lives on the request's loop, for the time of the request.
#pragma once

#include <memory>
#include <vector>

#include "agents/catalogue.hpp"
#include "agents/client_tools.hpp"
#include "agents/model_call.hpp"
#include "agents/tool_services.hpp"
#include "chat/run_event.hpp"
#include "chat/turn.hpp"
#include "core/context.hpp"
#include "core/task.hpp"

namespace parley::agents {

class ConversationTurn;
class ToolLoop;

class Run {
public:
    /// All references outlive the run, but for the turn's (see reads_turn()); `agent` has at least one candidate.
    /// `caller` is looked at only when the agent has tools. `without_tools`: the agent's own tools are left out of this
    /// run (background tasks of a client). `conversation`: what is to be remembered, nullptr = nothing; recalled,
    /// `turn` is its turn().
    Run(providers::Session& session, core::Context const& context, Agent const& agent, chat::Turn turn,
        ToolServices& tools, mcp::Caller caller, bool without_tools = false, ConversationTurn* conversation = nullptr);
    ~Run();
    Run(Run const&) = delete;
    Run& operator=(Run const&) = delete;

    /// Like ModelStream::next: appends events, waits for some that a client can see; false = the run is complete.
    /// Errors: upstream faults of the last candidate tried, kCancelled, kDeadlineExceeded, kUnsupportedValue,
    /// kToolNameConflict, kStoreUnavailable. With a conversation the end is told when all is stored. Events may come
    /// with an error: each tool that was told as started has ended then.
    core::Task<bool> next(std::vector<chat::RunEvent>& events);

    chat::Usage const& usage() const noexcept { return model_.usage(); } // of all rounds
    std::int64_t cost() const noexcept { return model_.cost(); }         // of all rounds, millionths of a US dollar
    bool is_untold() const noexcept { return model_.is_untold(); }       // the last round's usage
    Candidate const& answered_by() const noexcept { return model_.answered_by(); }
    std::size_t attempts() const noexcept { return model_.attempts(); }

    /// Attempts that failed and were followed by another, for the log.
    std::vector<ModelCall::Overcome> const& overcome() const noexcept { return model_.overcome(); }

    /// What the tool loop did; nullptr for a run without tools.
    chat::AgentUsage const* agent_usage() const noexcept;

    /// Whether the turn may be read again: not once a client has seen something of an answer that has no further round.
    bool reads_turn() const noexcept { return loop_ || !model_.reached_client(); }

    /// A tool that may have changed something was reached: an error must not make anybody repeat the request. Errors of
    /// next() say so themselves (should_retry).
    bool tools_ran() const noexcept;

private:
    struct Remembered;

    core::Task<bool> ask(std::vector<chat::RunEvent>& events);
    core::Task<bool> ask_and_remember(std::vector<chat::RunEvent>& events);

    core::Context const& context_;
    chat::Turn const turn_;
    std::unique_ptr<Remembered> remembered_; // null: no conversation
    ModelCall model_;
    std::unique_ptr<ToolLoop> loop_; // null: the agent has no tools
};

} // namespace parley::agents

// The calls that one round of a model asks of the agent's tools: checked, run side by side, and told about as they go.
// Lives on the run's loop. What is still under way when it is destroyed is cancelled, and ends by itself.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agents/tool_services.hpp"
#include "chat/run_event.hpp"
#include "core/context.hpp"
#include "core/task.hpp"

namespace parley::agents {

/// A call as the model asked for it, and what came of it.
struct AgentCall {
    std::string id;                    // plain text, unique in the run
    std::string name;                  // on the wire, plain text
    std::string arguments;             // plain text
    OfferedTool const* tool = nullptr; // null: there is none of that name
    std::string refused = {};          // not run, and the model is told this (a limit); empty = run it

    std::string text = {}; // for the model
    std::vector<mcp::Image> images = {};
    std::vector<chat::ToolSource> sources = {};
    bool is_error = false;
    bool executed = false;     // it was given to a server or run here
    bool reached_tool = false; // something may have happened that must not happen twice
};

class ToolRound {
public:
    struct Limits {
        std::size_t at_once = 8;
        core::SteadyTime deadline = core::SteadyTime::max(); // of the tools; earlier than the run's
    };

    /// References outlive the round. The tools of `calls` outlive it, too.
    ToolRound(ToolServices& services, core::Context const& context, mcp::Caller const& caller, Limits limits,
              core::Executor const& executor, std::vector<AgentCall> calls);
    ~ToolRound();
    ToolRound(ToolRound const&) = delete;
    ToolRound& operator=(ToolRound const&) = delete;

    /// Appends what has happened to `events`, and waits until there is something. false = all calls have ended. Errors:
    /// kCancelled, kDeadlineExceeded of the run; every call that was told as started has been told as ended then, too.
    core::Task<bool> next(std::vector<chat::RunEvent>& events);

    std::vector<AgentCall> const& calls() const noexcept;

    /// A server said that its call did not end before Limits::deadline.
    bool out_of_time() const noexcept;

private:
    struct State;
    class Stop;

    void start_some(core::Executor const& executor);
    void begin(std::size_t index, core::Executor const& executor);
    void tell(std::vector<chat::RunEvent>& events);
    void abandon(std::string_view outcome);
    static core::Awaitable<void> run_call(std::shared_ptr<State> state, std::size_t index, mcp::ToolCall call);

    core::Context const& context_;
    std::shared_ptr<State> state_;
    std::unique_ptr<Stop> stop_;
    std::size_t at_once_;
    std::size_t next_ = 0; // the first call that was not begun
};

} // namespace parley::agents

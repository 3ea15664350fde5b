// One run: what happens inside one request. Asks the agent's model, hands its events up, and turns to the next
// candidate while nothing has been handed up yet. Lives on the request's loop, for the time of the request.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agents/catalogue.hpp"
#include "chat/run_event.hpp"
#include "chat/turn.hpp"
#include "core/context.hpp"
#include "core/task.hpp"

namespace parley::agents {

class Run {
public:
    /// All references outlive the run; `agent` has at least one candidate.
    Run(providers::Session& session, core::Context const& context, Agent const& agent, chat::Turn turn);

    /// Like ModelStream::next: appends events, waits for some that a client can see; false = the run is complete.
    /// Errors: upstream faults of the last candidate tried, kCancelled, kDeadlineExceeded, kUnsupportedValue.
    core::Task<bool> next(std::vector<chat::RunEvent>& events);

    chat::Usage const& usage() const noexcept { return usage_; }
    Candidate const& answered_by() const noexcept { return agent_.candidates[candidate_]; }
    std::size_t attempts() const noexcept { return attempts_; }

    /// Errors that were overcome by a fallback, for the log.
    std::vector<core::Error> const& overcome() const noexcept { return overcome_; }

private:
    core::Task<bool> attempt(std::vector<chat::RunEvent>& events);
    void account(std::vector<chat::RunEvent>& events, std::size_t from);

    providers::Session& session_;
    core::Context const& context_;
    Agent const& agent_;
    chat::Turn turn_;
    std::unique_ptr<providers::ModelStream> stream_;
    std::size_t candidate_ = 0;
    std::size_t attempts_ = 0;
    bool reached_client_ = false;
    std::string model_; // of the last ModelReport, kept until there is something to show with it
    std::string system_fingerprint_;
    std::string service_tier_;
    bool model_pending_ = false;
    chat::Usage usage_;
    std::vector<core::Error> overcome_;
};

/// What the agent makes of the tools that the client sent along (AgentConfig::client_tools).
/// Errors: kUnsupportedValue where the agent refuses them.
core::Result<> apply_client_tools(AgentConfig const& agent, chat::Turn& turn);

} // namespace parley::agents

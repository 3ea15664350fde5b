// The rounds of a run of an agent with tools: model, tools, model … until the model is done, asks for the client's
// tools, or a limit is reached. Owned by the run, on the request's loop.
#pragma once

#include <array>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "agents/client_tools.hpp"
#include "agents/model_call.hpp"
#include "agents/round_record.hpp"
#include "agents/tool_round.hpp"
#include "agents/tool_services.hpp"

namespace parley::agents {

class ToolLoop final : private RoundFilter {
public:
    /// All references outlive the loop. `is_remembered`: the store keeps what the agent did before it asked for the
    /// client's tools, and has put it into `turn`.
    ToolLoop(ModelCall& model, core::Context const& context, Agent const& agent, chat::Turn const& turn,
             ToolServices& services, mcp::Caller caller, bool is_remembered = false);
    ~ToolLoop() override;

    /// As Run::next.
    core::Task<bool> next(std::vector<chat::RunEvent>& events);

    chat::AgentUsage const& agent_usage() const noexcept { return usage_; }
    bool tools_ran() const noexcept { return tools_ran_; }
    bool has_tools() const noexcept { return set_ && !set_->empty(); }

    /// All that a complete run added to the conversation; empty for one that needed no loop.
    std::vector<LoopMessage> answer() const;

private:
    enum class Phase : std::uint8_t { kPrepare, kModel, kTools, kPlain, kDone };

    core::Task<> prepare();
    core::Task<std::vector<mcp::ServerTools>> lists();
    void splice_parked();
    std::vector<std::string> client_calls_of(chat::Message const& message) const;

    void begin_round();
    void end_round(std::vector<chat::RunEvent>& events, core::Executor const& executor);
    void begin_tools(core::Executor const& executor);
    void end_tools(std::vector<chat::RunEvent>& events);
    void finish(chat::FinishReason reason, chat::StopReason stop, std::vector<chat::RunEvent>& events);
    void park();
    void note_ran();
    core::Error failed(core::Error error);

    void add(LoopMessage message);
    void add_results(bool show_images);
    std::optional<chat::StopReason> limit_reached() const;
    bool one_at_a_time() const;
    std::string_view setting(std::string_view name) const;

    chat::Turn const& turn_for(Candidate const& candidate) override;
    void take(std::vector<chat::RunEvent>& events, std::size_t from) override;
    void restart() override { record_.restart(); }

    ModelCall& model_;
    core::Context const& context_;
    Agent const& agent_;
    chat::Turn const& asked_; // as the client sent it
    ToolServices& services_;
    mcp::Caller caller_;
    bool is_remembered_;
    core::SteadyTime tools_deadline_; // leaves the rest of the time to a last answer

    Phase phase_ = Phase::kPrepare;
    std::shared_ptr<ToolSet const> set_; // null until prepared
    OfferedClientTools client_;
    RoundRecord record_{client_.names};
    std::unique_ptr<ToolRound> round_;
    std::vector<chat::Usage> reports_;

    std::vector<std::shared_ptr<ParkedTurn const>> spliced_; // messages_ points into them
    std::deque<LoopMessage> own_;                            // and into these, which this run adds
    std::vector<chat::Message> messages_;                    // empty while they are those of asked_
    chat::Turn turn_;                                        // of this round
    std::array<std::string, 2> merged_tools_;                // by profile: the agent's and the client's as one array
    std::string closing_text_;                               // of a round without calls, JSON string body
    bool first_round_ = true;
    std::optional<chat::StopReason> last_round_; // why this round is the last, with tools off

    chat::AgentUsage usage_;
    bool tools_ran_ = false;
};

} // namespace parley::agents

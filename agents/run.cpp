#include "agents/run.hpp"

#include "agents/tool_loop.hpp"

namespace parley::agents {

Run::Run(providers::Session& session, core::Context const& context, Agent const& agent, chat::Turn turn,
         ToolServices& tools, mcp::Caller caller, bool without_tools)
    : context_(context), turn_(turn), model_(session, context, agent) {
    if (without_tools || agent.tools->empty()) return;
    loop_ = std::make_unique<ToolLoop>(model_, context_, agent, turn_, tools, std::move(caller));
}

Run::~Run() = default;

core::Task<bool> Run::next(std::vector<chat::RunEvent>& events) {
    return loop_ ? loop_->next(events) : model_.next(turn_, events);
}

chat::AgentUsage const* Run::agent_usage() const noexcept {
    return loop_ && loop_->has_tools() ? &loop_->agent_usage() : nullptr;
}

bool Run::tools_ran() const noexcept {
    return loop_ && loop_->tools_ran();
}

} // namespace parley::agents

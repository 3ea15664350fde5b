#include "agents/run.hpp"

#include <utility>
#include <variant>

namespace parley::agents {

Run::Run(providers::Session& session, core::Context const& context, Agent const& agent, chat::Turn turn)
    : session_(session), context_(context), agent_(agent), turn_(turn) {}

core::Task<bool> Run::next(std::vector<chat::RunEvent>& events) {
    for (;;) {
        auto const had = events.size();
        auto const more = co_await attempt(events);
        if (more) {
            account(events, had);
            reached_client_ = reached_client_ || events.size() > had;
            co_return *more;
        }
        auto const last = candidate_ + 1 == agent_.candidates.size();
        if (last || reached_client_ || events.size() > had || !core::is_retryable(more.error())) {
            account(events, had);
            co_return more.error();
        }
        overcome_.push_back(more.error());
        stream_.reset();
        ++candidate_;
    }
}

core::Task<bool> Run::attempt(std::vector<chat::RunEvent>& events) {
    if (!stream_) {
        ++attempts_;
        auto const& candidate = agent_.candidates[candidate_];
        auto started = co_await candidate.provider->start(session_, context_, *candidate.model, turn_);
        if (!started) co_return started.error();
        stream_ = std::move(*started);
    }
    co_return co_await stream_->next(events);
}

void Run::account(std::vector<chat::RunEvent> const& events, std::size_t from) noexcept {
    for (auto i = from; i < events.size(); ++i) {
        if (auto const* const report = std::get_if<chat::UsageReport>(&events[i])) usage_ += report->usage;
    }
}

core::Result<> apply_client_tools(AgentConfig const& agent, chat::Turn& turn) {
    if (turn.tools.empty() || agent.client_tools == ClientTools::kMerge) return {};
    if (agent.client_tools == ClientTools::kReject) {
        return core::make_error(
            core::Errc::kUnsupportedValue,
            "The agent '" + agent.agent_id + "' brings its own tools and takes none from the client.", "tools");
    }
    turn.tools = {};
    turn.tool_choice = {};
    return {};
}

} // namespace parley::agents

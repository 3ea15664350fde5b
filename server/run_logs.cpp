#include "server/run_logs.hpp"

namespace parley::server {

void log_tool_call(core::Log& log, agents::ToolCallRecord const& call) {
    log.info("tool_call")
        .add("request_id", call.request_id)
        .add("agent", call.agent_id)
        .add("principal", call.principal)
        .add("server", call.server)
        .add("tool", call.tool)
        .add("arguments_sha256", call.arguments_sha256)
        .add("outcome", call.outcome)
        .add("duration_ms", call.duration_ms);
}

void log_summary(core::Log& log, agents::SummaryRecord const& record) {
    if (!record.problem.empty()) {
        log.warn("summary_failed")
            .add("agent", record.agent_id)
            .add("conversation", record.session)
            .add("reason", record.problem);
        return;
    }
    log.info("summarised")
        .add("agent", record.agent_id)
        .add("conversation", record.session)
        .add("tokens_before", record.tokens_before)
        .add("tokens_after", record.tokens_after);
}

} // namespace parley::server

// The log lines of what runs do besides answering.
#pragma once

#include "agents/summariser.hpp"
#include "agents/tool_services.hpp"
#include "core/log.hpp"

namespace parley::server {

/// The audit: one line for each call of a tool, whatever became of it.
void log_tool_call(core::Log& log, agents::ToolCallRecord const& call);

void log_summary(core::Log& log, agents::SummaryRecord const& record);

} // namespace parley::server

// What one loop lends to its runs so that they can use tools. Owned by whoever owns the loop's gateway; used on it
// only, but for the parked calls, which all loops share.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "agents/parked_calls.hpp"
#include "agents/tool_set.hpp"
#include "mcp/tool_host.hpp"

namespace parley::agents {

/// One call of a tool, for the audit log. Views are valid during the callback.
struct ToolCallRecord {
    std::string_view request_id;
    std::string_view agent_id;
    std::string_view principal;
    std::string_view server; // its label; empty = built in, or unknown
    std::string_view tool;   // the server's own name; as the model wrote it when there is no such tool
    std::string_view arguments_sha256;
    std::string_view outcome; // ok, error, invalid_arguments, unknown_tool, limit, timeout, cancelled
    std::int64_t duration_ms = 0;
};

struct ToolServices {
    mcp::ToolHost& host;
    ParkedCalls& parked;
    ToolSetCache sets = {};
    std::function<void(ToolCallRecord const&)> on_call = {}; // may be empty
};

} // namespace parley::agents

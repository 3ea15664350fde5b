// Drives the production client through a scenario of the MCP conformance suite (@modelcontextprotocol/conformance), and
// nothing else: what it needs of a client is connected, listed, called and read here.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/context.hpp"
#include "core/task.hpp"
#include "mcp/server_spec.hpp"
#include "mcp/transport.hpp"

namespace parley::mcp {

/// What the suite says in its environment.
struct Scenario {
    std::string name;             // MCP_CONFORMANCE_SCENARIO
    std::string protocol_version; // MCP_CONFORMANCE_PROTOCOL_VERSION
    std::string context;          // MCP_CONFORMANCE_CONTEXT: JSON or empty
};

/// How a server of that scenario would be configured.
std::shared_ptr<ServerSpec const> scenario_spec(Scenario const& scenario, std::string url);

/// Errors: the first thing that went wrong, in plain words; some scenarios want one.
core::Task<> play(core::Context const& context, TransportParts parts, std::shared_ptr<ServerSpec const> spec,
                  Scenario scenario);

} // namespace parley::mcp

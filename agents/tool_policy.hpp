// Which tools an agent may use, as its configuration and those of the servers say. Immutable, part of the snapshot.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agents/config.hpp"
#include "mcp/server_spec.hpp"

namespace parley::agents {

/// nullopt allows everything, an empty list nothing.
bool is_allowed(AllowedNames const& allowed, std::string_view name) noexcept;

/// A server whose tools an agent may use, and which of them.
struct AgentServer {
    std::shared_ptr<mcp::ServerSpec const> spec;
    AllowedNames allowed_by_agent = {};
    AllowedNames allowed_by_server = {};
    std::vector<std::string> denied_by_server = {};

    bool allows(std::string_view tool) const noexcept;
};

/// A server as the catalogue holds it. `spec` is there also for one that cannot be used.
struct ServerState {
    McpServerConfig config;
    std::shared_ptr<mcp::ServerSpec const> spec;
    std::string unavailable =
        {}; // why nobody is offered its tools (missing variable, disabled, approval); empty = ready
};

/// All that is fixed about an agent's tools. Its address keys caches, so whoever caches by it shares it.
struct AgentTools {
    std::vector<AgentServer> servers = {};
    std::vector<std::shared_ptr<mcp::ServerSpec const>> specs = {}; // of `servers`, in their order
    std::vector<std::string> built_ins = {};                        // names

    bool empty() const noexcept { return servers.empty() && built_ins.empty(); }
};

/// What `agent` may use of `servers`. Limits of zero rounds or calls leave nothing.
AgentTools tools_of(AgentConfig const& agent, std::span<ServerState const> servers);

} // namespace parley::agents

#include "agents/tool_policy.hpp"

#include <algorithm>

#include "agents/builtin_tools.hpp"
#include "core/glob.hpp"

namespace parley::agents {
namespace {

// A label in allowed_mcp_servers may be a pattern, too; the most exact entry counts: the label itself, else the longest
// pattern that matches.
AllowedNames const* entry_for(AllowedServers const& allowed, std::string_view label) {
    if (auto const exact = allowed->find(label); exact != allowed->end()) return &exact->second;
    AllowedNames const* best = nullptr;
    std::size_t best_size = 0;
    for (auto const& [pattern, tools] : *allowed) {
        if (pattern.size() < best_size || !core::glob_matches(pattern, label)) continue;
        best = &tools;
        best_size = pattern.size();
    }
    return best;
}

} // namespace

bool is_allowed(AllowedNames const& allowed, std::string_view name) noexcept {
    return !allowed || std::any_of(allowed->begin(), allowed->end(),
                                   [name](std::string const& pattern) { return core::glob_matches(pattern, name); });
}

bool AgentServer::allows(std::string_view tool) const noexcept {
    auto const denied = std::any_of(denied_by_server.begin(), denied_by_server.end(),
                                    [tool](std::string const& pattern) { return core::glob_matches(pattern, tool); });
    return !denied && is_allowed(allowed_by_server, tool) && is_allowed(allowed_by_agent, tool);
}

AgentTools tools_of(AgentConfig const& agent, std::span<ServerState const> servers) {
    AgentTools out;
    if (agent.limits.max_tool_rounds == 0 || agent.limits.max_tool_calls == 0) return out;
    for (auto const name : builtin_tool_names()) {
        if (is_allowed(agent.allowed_regular_tools, name)) out.built_ins.emplace_back(name);
    }
    for (auto const& server : servers) {
        if (!server.unavailable.empty()) continue;
        AllowedNames allowed;
        if (agent.allowed_mcp_servers) {
            auto const* const entry = entry_for(agent.allowed_mcp_servers, server.config.label);
            if (entry == nullptr) continue;
            allowed = *entry;
        }
        auto const nothing = [](AllowedNames const& names) { return names && names->empty(); };
        if (nothing(allowed) || nothing(server.config.allowed_tools)) continue; // not even asked for its list
        out.servers.push_back(
            {server.spec, std::move(allowed), server.config.allowed_tools, server.config.denied_tools});
        out.specs.push_back(server.spec);
    }
    return out;
}

} // namespace parley::agents

// Loads configuration from files and variables that live in memory, for the config_*_test.cpp files.
// Owned by each test; nothing touches the disk.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "agents/config_loader.hpp"

namespace parley::agents::testing {

using Texts = std::map<std::string, std::string, std::less<>>;

struct Given {
    std::string agent_config;
    std::string mcp = {}; // empty = no such file
    Texts env = {};
    Texts files = {}; // further ones by path, e.g. prompts/a.md
    bool mcp_required = false;
};

inline LoadedConfig load(Given const& given) {
    auto files = given.files;
    files.emplace("agents.json", given.agent_config);
    if (!given.mcp.empty()) files.emplace("mcp.json", given.mcp);
    ConfigSources sources;
    sources.agent_config_path = "agents.json";
    sources.mcp_path = "mcp.json";
    sources.prompts_dir = "prompts";
    sources.mcp_required = given.mcp_required;
    sources.env = [env = given.env](std::string_view name) -> std::optional<std::string> {
        auto const entry = env.find(name);
        return entry == env.end() ? std::nullopt : std::optional(entry->second);
    };
    sources.read = [files](std::string const& path) -> core::Result<std::string> {
        auto const entry = files.find(path);
        if (entry == files.end()) return core::make_error(kNoSuchFile, "no such file");
        return entry->second;
    };
    return load_config(sources);
}

inline std::string report(LoadedConfig const& loaded) {
    std::string out;
    for (auto const& fault : loaded.faults)
        out += to_text(fault) + "\n";
    return out;
}

/// The configuration, which must be without fault.
inline GatewayConfig good(Given const& given) {
    auto loaded = load(given);
    EXPECT_TRUE(loaded.config.has_value()) << report(loaded);
    return loaded.config ? std::move(*loaded.config) : GatewayConfig{};
}

/// The first agent of a configuration without fault.
inline AgentConfig good_agent(Given const& given) {
    auto config = good(given);
    EXPECT_FALSE(config.agents.empty());
    return config.agents.empty() ? AgentConfig{} : std::move(config.agents.front());
}

inline ProviderConfig provider(GatewayConfig const& config, std::string_view name) {
    auto const entry = std::find_if(config.providers.begin(), config.providers.end(),
                                    [name](ProviderConfig const& p) { return p.name == name; });
    EXPECT_NE(entry, config.providers.end()) << "no provider " << name;
    return entry == config.providers.end() ? ProviderConfig{} : *entry;
}

/// The one fault of a configuration.
inline Fault only_fault(LoadedConfig const& loaded) {
    EXPECT_FALSE(loaded.config.has_value());
    EXPECT_EQ(loaded.faults.size(), 1U) << report(loaded);
    return loaded.faults.empty() ? Fault{} : loaded.faults.front();
}

inline bool mentions(std::vector<std::string> const& lines, std::string_view text) {
    return std::any_of(lines.begin(), lines.end(),
                       [text](std::string const& line) { return line.find(text) != std::string::npos; });
}

} // namespace parley::agents::testing

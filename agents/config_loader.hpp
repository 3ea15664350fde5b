// Reads, checks and assembles the whole configuration: the one entry of this part of the room.
// Called by the command line (validate, serve) and by the reloader; holds nothing between calls.
// Blocks on files and environment: at start, and on reload off the request path.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agents/config.hpp"
#include "core/result.hpp"

namespace parley::agents {

/// The value of an environment variable (or of the .env file, as the caller decides), or nothing. Empty = not set.
using EnvLookup = std::function<std::optional<std::string>(std::string_view name)>;

/// The error code by which a FileReader says that there is no such file.
inline constexpr core::Errc kNoSuchFile = core::Errc::kUnknownUrl;

/// The bytes of a file. Errors: kNoSuchFile, or any other code with a message that says why it cannot be read.
using FileReader = std::function<core::Result<std::string>(std::string const& path)>;

inline constexpr std::size_t kConfigFileBytesMax = 4U << 20U;
inline constexpr std::size_t kPromptFileBytesMax = 1U << 20U;

/// Reads from disk; refuses what is no regular file or above kConfigFileBytesMax.
FileReader disk_reader();

struct ConfigSources {
    std::string agent_config_path;
    std::string mcp_path; // empty = no MCP servers
    std::string prompts_dir;
    bool mcp_required = false; // the path was given by the user: a missing file is then a fault
    EnvLookup env;
    FileReader read; // empty = disk_reader()
};

struct LoadedConfig {
    std::optional<GatewayConfig> config; // set exactly when there are no faults
    std::vector<Fault> faults;           // all of them, in the order of the files
    std::vector<std::string> warnings;   // one line each; no secrets
};

LoadedConfig load_config(ConfigSources const& sources);

} // namespace parley::agents

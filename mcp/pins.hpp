// The hashes of tool definitions as they were first seen, kept in a file: a tool that changes its description behind
// our back (a "rug pull") is noticed, also after a restart. Used on the servers' loop.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "mcp/server_spec.hpp"
#include "mcp/tool_host.hpp"

namespace parley::mcp {

class Pins {
public:
    /// `path` empty = nothing is kept on disk. A file that cannot be read counts as empty and is told by problem().
    explicit Pins(std::string path);

    enum class Verdict : std::uint8_t { kNew, kSame, kChanged };

    /// Compares with what is pinned for this server; a new tool is pinned at once.
    Verdict check(std::string_view server, Tool const& tool);

    /// Takes the definition as it is now for good.
    void approve(std::string_view server, Tool const& tool);

    /// Writes what has changed, by way of a temporary file. An error is told by problem() and tried again next time.
    void save();

    std::string const& problem() const noexcept { return problem_; }

private:
    std::string path_;
    std::map<std::string, std::map<std::string, std::string, std::less<>>, std::less<>> pins_; // server, tool, SHA-256
    bool changed_ = false;
    std::string problem_;
};

/// What a server is pinned under: its label and how it is reached, so that another program under an old label is new.
std::string pin_identity(ServerSpec const& spec);

} // namespace parley::mcp

// The hashes of tool definitions as they were first seen, kept in a file: a tool that changes its description behind
// our back (a "rug pull") is noticed, also after a restart. Used on the servers' loop.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "mcp/server_spec.hpp"
#include "mcp/tool_host.hpp"

namespace parley::mcp {

class Pins {
public:
    /// Whether what is seen for the first time, or has changed, is kept in the file. Approving keeps it in any case.
    enum class Keeping : std::uint8_t { kAll, kApproved };

    /// `path` empty = nothing is kept on disk. A file that cannot be read counts as empty and is told by problem().
    explicit Pins(std::string path, Keeping keeping = Keeping::kAll);

    enum class Verdict : std::uint8_t { kNew, kSame, kChanged };

    /// Compares with what is pinned for this server; a new tool is pinned at once.
    Verdict check(std::string_view server, Tool const& tool);

    /// A change that was told once is not told again; the definition as it is now is compared with from now on.
    void accept(std::string_view server, Tool const& tool);

    /// The same, on the word of a person.
    void approve(std::string_view server, Tool const& tool);

    /// Writes what has changed, by way of a temporary file. An error is told by problem() and tried again next time.
    void save();

    std::string const& problem() const noexcept { return problem_; }

private:
    std::string path_;
    Keeping keeping_;
    std::map<std::string, std::map<std::string, std::string, std::less<>>, std::less<>> pins_; // server, tool, SHA-256
    bool changed_ = false;
    std::string problem_;
};

/// What a server is pinned under: its label and how it is reached, so that another program under an old label is new.
std::string pin_identity(ServerSpec const& spec);

} // namespace parley::mcp

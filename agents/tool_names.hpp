// The names under which a model sees tools: what every provider takes, unlike the names of servers and their tools.
// Pure functions; the way back is a map (ToolSet), never a parse.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace parley::agents {

/// OpenAI's limit; that of all others is the same or higher.
inline constexpr std::size_t kToolNameBytesMax = 64;

/// `label__tool` with every character outside [A-Za-z0-9_-] turned into _, a letter in front, and cut, when it would be
/// longer than kToolNameBytesMax, to make room for _ and 8 hex digits of the SHA-256 of the full name.
std::string wire_name(std::string_view label, std::string_view tool);

/// wire_name, or when that is taken already a variant of it with a hash of the full name. Adds it to `taken`.
std::string unique_wire_name(std::string_view label, std::string_view tool, std::set<std::string, std::less<>>& taken);

} // namespace parley::agents

// JSON text to a tree, for configuration files: names the place of every fault and finds keys given twice.
// Used by config_loader.cpp only; holds nothing between calls.
// Runs at start and on reload; not for the request path (core/json.hpp is).
#pragma once

#include <boost/json/value.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agents/config.hpp"

namespace parley::agents {

enum class JsonStyle : std::uint8_t {
    kStrict,
    kRelaxed, // // and /* */ comments, and a comma before a closing bracket
};

struct ParsedJson {
    std::optional<boost::json::value> value; // set when the grammar is kept, even with keys given twice
    std::vector<Fault> faults;               // without `file`
};

/// A byte order mark is skipped. At most 32 levels.
ParsedJson parse_config_json(std::string_view text, JsonStyle style);

/// Sets `line` of every fault from `first` on by its pointer. `text` must have been parsed without fault before.
void set_lines(std::string_view text, JsonStyle style, std::vector<Fault>& faults, std::size_t first);

/// `parent` + "/" + `key`, with ~ and / escaped (RFC 6901).
std::string join_pointer(std::string_view parent, std::string_view key);
std::string join_pointer(std::string_view parent, std::size_t index);

} // namespace parley::agents

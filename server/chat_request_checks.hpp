// The words of a 400, and the checks of single JSON values. Used by chat_request*.cpp only; no state.
// Values are JSON texts that have passed core::check_json, without whitespace around them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace parley::server {

/// Where a value is, kept on the stack while walking down; only an error spells it out: messages[1].content
struct Path {
    Path const* parent = nullptr;
    std::string_view name = {}; // of a member; empty = an element
    std::size_t index = 0;

    std::string text() const;
};

/// A JSON text and how far its memory can be read.
struct Slice {
    std::string_view json;
    char const* readable_end = nullptr;
};

/// What the client is told of a body that core::CheckedObject refused with `error`.
core::Error unreadable_body(std::string_view body, core::Error error, std::size_t depth_max);
core::Error missing_parameter(Path const& path);
core::Error duplicate_key(Path const& path);
core::Error invalid_type(Path const& path, std::string_view expected, std::string_view json);
/// "Invalid value for 'path': why."
core::Error invalid_value(Path const& path, std::string_view why);
core::Error invalid_choice(Path const& path, std::string_view found, std::span<std::string_view const> allowed);

inline bool is_null(std::string_view json) noexcept {
    return json == "null";
}
inline bool is_string(std::string_view json) noexcept {
    return json.starts_with('"');
}
inline bool is_array(std::string_view json) noexcept {
    return json.starts_with('[');
}
inline bool is_object(std::string_view json) noexcept {
    return json.starts_with('{');
}

/// The text of a JSON string.
std::string string_text(std::string_view json);

/// Characters (code points) of a UTF-8 text.
std::size_t character_count(std::string_view utf8) noexcept;

/// Errors of all below: kInvalidType, kInvalidValue.
struct Lengths { // in characters
    std::size_t min = 0;
    std::size_t max = std::numeric_limits<std::size_t>::max();
};
core::Result<> check_string(Path const& path, std::string_view json, Lengths lengths = {});
core::Result<> check_choice(Path const& path, std::string_view json, std::span<std::string_view const> allowed);
core::Result<> check_number(Path const& path, std::string_view json, double min, double max);
core::Result<> check_object(Path const& path, std::string_view json);
core::Result<bool> read_boolean(Path const& path, std::string_view json);
/// Takes any spelling of a whole number: 100, 100.0, 1e2.
core::Result<std::int64_t> read_integer(Path const& path, std::string_view json, std::int64_t min, std::int64_t max);
/// A tool's or a schema's name: 1 to 64 of letters, digits, _ and -.
core::Result<> check_name(Path const& path, std::string_view json);

} // namespace parley::server

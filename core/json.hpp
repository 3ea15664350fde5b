// JSON text without trees: escape, unescape, validate, repair. No I/O, no allocation beyond the output.
// "String body" = the bytes between the quotes of a JSON string.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace parley::core {

/// Appends `text` (UTF-8) as a JSON string body. Invalid UTF-8 becomes U+FFFD: the output is always valid.
void append_json_body(std::string& out, std::string_view text);

/// Appends `text` as a JSON string, quotes included.
void append_json_string(std::string& out, std::string_view text);

/// The text of a JSON string body. Lone surrogates become U+FFFD.
std::string json_body_to_text(std::string_view body);

/// Makes a body that came from outside safe to send on: lone surrogate escapes and invalid UTF-8 become U+FFFD.
/// Returns `body` itself when nothing is wrong (the usual case), else a view of `storage`.
std::string_view repair_json_body(std::string_view body, std::string& storage);

bool is_valid_utf8(std::string_view text) noexcept;

/// Replaces invalid UTF-8 by U+FFFD.
std::string repair_utf8(std::string_view text);

/// Checks that `text` is exactly one JSON value: RFC 8259 grammar, UTF-8, paired surrogates, finite numbers, at most
/// `depth_max` levels, no key twice in one object on the top level. Errors: kInvalidJson with a position or a key.
Result<> check_json(std::string_view text, std::size_t depth_max);

/// The JSON string in `json` (with quotes) without its quotes.
inline std::string_view strip_quotes(std::string_view json) noexcept {
    return json.size() >= 2 ? json.substr(1, json.size() - 2) : std::string_view{};
}

} // namespace parley::core

// The words of a 400, and the checks of single JSON values. The wording follows OpenAI's own messages.
// Pure functions, no state: callable from any loop.
#include "server/chat_request_checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>
#include <system_error>

#include "core/json.hpp"
#include "server/chat_request_walk.hpp"

namespace parley::server {
namespace {

using core::Errc;

// What a message quotes of the request is cut here.
constexpr std::size_t kQuotedMax = 64;

std::string cited(std::string_view text) {
    if (text.size() <= kQuotedMax) return std::string(text);
    return core::repair_utf8(text.substr(0, kQuotedMax)) + "...";
}

bool is_whole(std::string_view number) noexcept {
    return number.find_first_of(".eE") == number.npos;
}

std::string_view type_name(std::string_view json) noexcept {
    switch (json.empty() ? ' ' : json.front()) {
        case '"':
            return "a string";
        case '{':
            return "an object";
        case '[':
            return "an array";
        case 't':
        case 'f':
            return "a boolean";
        case 'n':
            return "null";
        default:
            return is_whole(json) ? "an integer" : "a decimal number";
    }
}

bool is_number(std::string_view json) noexcept {
    return !json.empty() && (json.front() == '-' || (json.front() >= '0' && json.front() <= '9'));
}

// `json` has the grammar of a finite number; what is too small for a double is 0.
double number_value(std::string_view json) noexcept {
    double value = 0;
    std::from_chars(json.data(), json.data() + json.size(), value);
    return value;
}

core::Error not_an_object(std::string_view body) {
    auto const found = trim_end(body.substr(std::min(body.find_first_not_of(" \t\r\n"), body.size())));
    auto error = invalid_type(Path{nullptr, "body"}, "a JSON object", found);
    error.code = core::Errc::kInvalidJson;
    error.message.replace(0, error.message.find(':'), "Invalid request body");
    error.param.clear();
    return error;
}

} // namespace

std::string Path::text() const {
    auto prefix = parent == nullptr ? std::string{} : parent->text();
    if (name.empty()) return fmt::format("{}[{}]", prefix, index);
    return prefix.empty() ? std::string(name) : fmt::format("{}.{}", prefix, name);
}

core::Error missing_parameter(Path const& path) {
    auto const param = path.text();
    return core::make_error(Errc::kMissingParameter, fmt::format("Missing required parameter: '{}'.", param), param);
}

core::Error duplicate_key(Path const& path) {
    auto const param = path.text();
    return core::make_error(Errc::kInvalidValue, fmt::format("Invalid value: '{}' occurs more than once.", param),
                            param);
}

core::Error invalid_type(Path const& path, std::string_view expected, std::string_view json) {
    auto const param = path.text();
    return core::make_error(
        Errc::kInvalidType,
        fmt::format("Invalid type for '{}': expected {}, but got {} instead.", param, expected, type_name(json)),
        param);
}

core::Error invalid_value(Path const& path, std::string_view why) {
    auto const param = path.text();
    return core::make_error(Errc::kInvalidValue, fmt::format("Invalid value for '{}': {}.", param, why), param);
}

core::Error invalid_choice(Path const& path, std::string_view found, std::span<std::string_view const> allowed) {
    std::string list;
    for (std::size_t i = 0; i < allowed.size(); ++i) {
        if (i != 0) list += i + 1 == allowed.size() ? (i == 1 ? " and " : ", and ") : ", ";
        list += fmt::format("'{}'", allowed[i]);
    }
    auto const param = path.text();
    return core::make_error(
        Errc::kInvalidValue,
        fmt::format("Invalid value for '{}': '{}'. Supported values are: {}.", param, cited(found), list), param);
}

std::string string_text(std::string_view json) {
    auto const body = core::strip_quotes(json);
    return body.find('\\') == body.npos ? std::string(body) : core::json_body_to_text(body);
}

std::size_t character_count(std::string_view utf8) noexcept {
    return static_cast<std::size_t>(
        std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

core::Result<> check_string(Path const& path, std::string_view json, Lengths lengths) {
    if (!is_string(json)) return invalid_type(path, "a string", json);
    auto const bytes = json.size() - 2; // a character takes 1 to 12 of them
    if (bytes / 12 >= lengths.min && bytes <= lengths.max) return {};
    auto const count = character_count(string_text(json));
    if (count < lengths.min) {
        return invalid_value(path, fmt::format("expected at least {} character{}, but got {}", lengths.min,
                                               lengths.min == 1 ? "" : "s", count));
    }
    if (count > lengths.max) {
        return invalid_value(path, fmt::format("expected at most {} characters, but got {}", lengths.max, count));
    }
    return {};
}

core::Result<> check_choice(Path const& path, std::string_view json, std::span<std::string_view const> allowed) {
    if (!is_string(json)) return invalid_type(path, "a string", json);
    auto const text = string_text(json);
    if (std::find(allowed.begin(), allowed.end(), text) == allowed.end()) return invalid_choice(path, text, allowed);
    return {};
}

core::Result<> check_number(Path const& path, std::string_view json, double min, double max) {
    if (!is_number(json)) return invalid_type(path, "a number", json);
    auto const value = number_value(json);
    if (value >= min && value <= max) return {};
    return invalid_value(path,
                         fmt::format("expected a number from {} to {}, but got {} instead", min, max, cited(json)));
}

core::Result<> check_object(Path const& path, std::string_view json) {
    if (!is_object(json)) return invalid_type(path, "an object", json);
    return {};
}

core::Result<bool> read_boolean(Path const& path, std::string_view json) {
    if (json == "true") return true;
    if (json == "false") return false;
    return invalid_type(path, "a boolean", json);
}

core::Result<std::int64_t> read_integer(Path const& path, std::string_view json, std::int64_t min, std::int64_t max) {
    if (!is_number(json)) return invalid_type(path, "an integer", json);
    std::int64_t value = 0;
    bool in_range = true;
    if (is_whole(json)) {
        in_range = std::from_chars(json.data(), json.data() + json.size(), value).ec == std::errc{};
    } else {
        constexpr double exact_max = 9007199254740992.0; // 2^53: above it a double skips integers
        auto const number = number_value(json);
        if (number != std::trunc(number)) return invalid_type(path, "an integer", json);
        in_range = std::abs(number) <= exact_max;
        if (in_range) value = static_cast<std::int64_t>(number);
    }
    if (in_range && value >= min && value <= max) return value;
    return invalid_value(path,
                         fmt::format("expected an integer from {} to {}, but got {} instead", min, max, cited(json)));
}

core::Result<> check_name(Path const& path, std::string_view json) {
    constexpr std::size_t length_max = 64;
    if (!is_string(json)) return invalid_type(path, "a string", json);
    auto const name = string_text(json);
    auto const allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    };
    if (!name.empty() && name.size() <= length_max && std::all_of(name.begin(), name.end(), allowed)) return {};
    return invalid_value(path, fmt::format("expected 1 to {} letters, digits, underscores or dashes, but got '{}'",
                                           length_max, cited(name)));
}

core::Error unreadable_body(std::string_view body, core::Error error, std::size_t depth_max) {
    if (error.code != core::Errc::kInvalidJson) return error;
    auto const begin = body.find_first_not_of(" \t\r\n");
    bool const object = begin != body.npos && body[begin] == '{';
    if (!object && begin != body.npos && core::check_json(body, depth_max)) return not_an_object(body);
    error.message = fmt::format("Could not parse the JSON body: {}.", error.message);
    return error;
}

} // namespace parley::server

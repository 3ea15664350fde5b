// What may stand in a line of an HTTP head (RFC 9110 section 5): for text that comes from a configuration or a server.
// Pure. A line end that gets into a head ends it early, and what follows is read as another request.
#pragma once

#include <algorithm>
#include <string_view>

namespace parley::core {

/// A token: letters, digits and a few marks.
inline bool is_header_name(std::string_view name) noexcept {
    static constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
    return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               kMarks.find(c) != std::string_view::npos;
    });
}

/// Without line end and control character; a tab may be.
inline bool is_header_value(std::string_view value) noexcept {
    return std::none_of(value.begin(), value.end(),
                        [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; });
}

/// Without the white space and line ends around it, which belong to no value: a mounted secret ends in a line end.
inline std::string_view trimmed_header_value(std::string_view value) noexcept {
    constexpr std::string_view kSpace = " \t\r\n";
    auto const first = value.find_first_not_of(kSpace);
    if (first == std::string_view::npos) return {};
    return value.substr(first, value.find_last_not_of(kSpace) - first + 1);
}

} // namespace parley::core

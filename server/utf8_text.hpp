// Code points and words of UTF-8 text, for what is said about a text. Pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace parley::server {

/// Takes the first code point off `text`, which is not empty. A byte that begins none counts as U+FFFD.
inline char32_t take_code_point(std::string_view& text) noexcept {
    auto const lead = static_cast<unsigned char>(text.front());
    std::size_t const size = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    char32_t code = size == 1 ? lead : lead & (0x7FU >> size);
    if ((lead >= 0x80 && size == 1) || text.size() < size) {
        text.remove_prefix(1);
        return 0xFFFD;
    }
    for (std::size_t i = 1; i < size; ++i)
        code = code << 6 | (static_cast<unsigned char>(text[i]) & 0x3FU);
    text.remove_prefix(size);
    return code;
}

inline std::size_t count_code_points(std::string_view text) noexcept {
    std::size_t count = 0;
    for (char const c : text)
        count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1U : 0U;
    return count;
}

/// Calls `take` for each run of ASCII letters and digits and of bytes of other scripts.
template <class Take>
void for_each_word(std::string_view text, Take take) {
    auto const in_word = [](char c) {
        auto const byte = static_cast<unsigned char>(c);
        return byte >= 0x80 || (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
               (byte >= 'a' && byte <= 'z');
    };
    for (std::size_t at = 0; at < text.size();) {
        auto end = at;
        while (end < text.size() && in_word(text[end]))
            ++end;
        if (end != at) take(text.substr(at, end - at));
        at = end + 1;
    }
}

/// ASCII, Latin-1 and Cyrillic letters made small; the rest as it is.
std::string lower_case(std::string_view text);

} // namespace parley::server

// ASCII letters without regard to case, whatever the locale: names of headers, schemes and tokens (RFC 9110
// section 5.1). Pure. Letters beyond ASCII stay as they are.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace parley::core {

constexpr char ascii_lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

inline std::string ascii_lower(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(), [](char c) { return ascii_lower(c); });
    return out;
}

inline bool is_same_but_case(std::string_view one, std::string_view other) noexcept {
    return std::ranges::equal(one, other, [](char a, char b) { return ascii_lower(a) == ascii_lower(b); });
}

} // namespace parley::core

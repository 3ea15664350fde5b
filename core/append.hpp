// Text that is built on every request, by appending: no format string has to be read at run time. Everything else is
// fmt's. Pure functions, no state.
#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

namespace parley::core {

/// Appends `number` in decimal.
template <std::integral Number>
void append_number(std::string& out, Number number) {
    char digits[24]; // the longest: 20 of a 64-bit number with its sign
    auto const end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    out.append(digits, static_cast<std::size_t>(end - digits));
}

/// Appends `number` in decimal with leading zeros, `width` digits at least.
inline void append_padded(std::string& out, unsigned number, std::size_t width) {
    char digits[16];
    auto const end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    auto const size = static_cast<std::size_t>(end - digits);
    if (size < width) out.append(width - size, '0');
    out.append(digits, size);
}

/// Appends every part: text as it is, numbers in decimal.
template <class... Parts>
void append(std::string& out, Parts const&... parts) {
    auto const one = [&out](auto const& part) {
        using Part = std::remove_cvref_t<decltype(part)>;
        static_assert(!std::same_as<Part, bool>, "a string takes a bool as a character");
        if constexpr (std::integral<Part> && !std::same_as<Part, char>) {
            append_number(out, part);
        } else {
            out += part;
        }
    };
    (one(parts), ...);
}

} // namespace parley::core

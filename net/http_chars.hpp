// Which characters may stand where in HTTP/1.1 (RFC 9110 §5.6, RFC 9112 §3), as one table. Private to net/http_*.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace parley::net::http_chars {

inline constexpr std::uint8_t kToken = 1;  // RFC 9110 tchar
inline constexpr std::uint8_t kTarget = 2; // visible ASCII but '#'
inline constexpr std::uint8_t kValue = 4;  // VCHAR, SP, HTAB, obs-text
inline constexpr std::uint8_t kHost = 8;   // reg-name without percent, IPv4
inline constexpr std::uint8_t kSpace = 16; // SP, HTAB

constexpr std::array<std::uint8_t, 256> make_classes() {
    std::array<std::uint8_t, 256> table{};
    auto const mark = [&table](std::string_view chars, std::uint8_t bit) {
        for (auto const c : chars)
            table[static_cast<unsigned char>(c)] =
                static_cast<std::uint8_t>(table[static_cast<unsigned char>(c)] | bit);
    };
    for (unsigned c = 0x21; c < 0x7f; ++c) {
        if (c != '#') table[c] |= kTarget;
        table[c] |= kValue;
    }
    for (unsigned c = 0x80; c < 0x100; ++c)
        table[c] |= kValue;
    for (unsigned c = '0'; c <= '9'; ++c)
        table[c] |= kToken | kHost;
    for (unsigned c = 'a'; c <= 'z'; ++c)
        table[c] |= kToken | kHost;
    for (unsigned c = 'A'; c <= 'Z'; ++c)
        table[c] |= kToken | kHost;
    mark("!#$%&'*+-.^_`|~", kToken);
    mark("-._~", kHost);
    mark(" \t", kValue | kSpace);
    return table;
}

inline constexpr auto kClasses = make_classes();

inline bool is(char c, std::uint8_t bits) noexcept {
    return (kClasses[static_cast<unsigned char>(c)] & bits) != 0;
}

inline bool all(std::string_view text, std::uint8_t bits) noexcept {
    for (auto const c : text) {
        if (!is(c, bits)) return false;
    }
    return true;
}

/// all(text, kValue), eight bytes at a time: values are long, and control characters rare.
inline bool all_value(std::string_view text) noexcept {
    constexpr std::uint64_t ones = 0x0101010101010101, high = ones * 0x80;
    for (; text.size() >= 8; text.remove_prefix(8)) {
        std::uint64_t word = 0;
        std::memcpy(&word, text.data(), sizeof word);
        auto const del = word ^ (ones * 0x7f);
        auto const suspect = (((word - ones * 0x20) & ~word) | ((del - ones) & ~del)) & high;
        if (suspect != 0 && !all(text.substr(0, 8), kValue)) return false;
    }
    return all(text, kValue);
}

} // namespace parley::net::http_chars

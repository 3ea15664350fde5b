#include "server/utf8_text.hpp"

namespace parley::server {
namespace {

char32_t small(char32_t c) noexcept {
    if (c >= 'A' && c <= 'Z') return c + 32;
    if (c >= 0xC0 && c <= 0xDE && c != 0xD7) return c + 32;
    if (c >= 0x410 && c <= 0x42F) return c + 32;
    if (c >= 0x400 && c <= 0x40F) return c + 80;
    return c;
}

} // namespace

// The letters in question have as many bytes small as large.
std::string lower_case(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        auto const before = text;
        auto const c = take_code_point(text);
        auto const same = small(c);
        if (same == c) {
            out += before.substr(0, before.size() - text.size());
        } else if (same < 0x80) {
            out += static_cast<char>(same);
        } else {
            out += static_cast<char>(0xC0 | (same >> 6));
            out += static_cast<char>(0x80 | (same & 0x3F));
        }
    }
    return out;
}

} // namespace parley::server

// JSON strings: escape, unescape, repair. The check of whole texts is in json_check.cpp.
// Pure functions, no state: callable from any loop. simdjson does the UTF-8 validation.
#include "core/json.hpp"

#include <simdjson.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "core/hex.hpp"
#include "core/json_escape.hpp"

namespace parley::core {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD"; // U+FFFD in UTF-8

constexpr bool needs_escape(char c) noexcept {
    return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\';
}

// The first of eight bytes that needs an escape, 8 if none. The subtractions can only raise false alarms above a true
// one, so the lowest set bit is exact ("Bit Twiddling Hacks", haszero/hasless). Needs a little-endian load.
std::size_t first_in_word(std::uint64_t word) noexcept {
    constexpr std::uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
    auto const quote = word ^ (ones * '"');
    auto const backslash = word ^ (ones * '\\');
    auto const control = (word - ones * 0x20) & ~word;
    auto const hit = (control | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash)) & high;
    return hit == 0 ? 8 : static_cast<std::size_t>(std::countr_zero(hit)) / 8;
}

// The first byte in [at, end) that may not stand as it is in a JSON string, or end.
char const* next_special(char const* at, char const* end) noexcept {
    while (end - at >= 32) { // compilers turn this fixed loop into vector code
        unsigned char hit = 0;
        for (int i = 0; i < 32; ++i)
            hit |= static_cast<unsigned char>(needs_escape(at[i]));
        if (hit != 0) break;
        at += 32;
    }
    if constexpr (std::endian::native == std::endian::little) {
        while (end - at >= 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, at, 8);
            auto const first = first_in_word(word);
            if (first < 8) return at + first;
            at += 8;
        }
    }
    while (at != end && !needs_escape(*at))
        ++at;
    return at;
}

void append_escape(std::string& out, char c) {
    constexpr char hex[] = "0123456789abcdef";
    switch (c) {
        case '"':
            out += "\\\"";
            return;
        case '\\':
            out += "\\\\";
            return;
        case '\n':
            out += "\\n";
            return;
        case '\r':
            out += "\\r";
            return;
        case '\t':
            out += "\\t";
            return;
        case '\b':
            out += "\\b";
            return;
        case '\f':
            out += "\\f";
            return;
        default:
            out += "\\u00";
            out += hex[static_cast<unsigned char>(c) >> 4];
            out += hex[static_cast<unsigned char>(c) & 15];
    }
}

void append_escaped(std::string& out, std::string_view utf8) {
    auto const* at = utf8.data();
    auto const* const end = at + utf8.size();
    while (true) {
        auto const* const special = next_special(at, end);
        out.append(at, static_cast<std::size_t>(special - at));
        if (special == end) return;
        append_escape(out, *special);
        at = special + 1;
    }
}

// True for a short text that is its own string body: ASCII with nothing to escape, as names, ids and numbers are.
bool is_short_and_plain(std::string_view text) noexcept {
    constexpr std::size_t kShort = 64; // beyond it the vector code of the long way wins
    if (text.size() > kShort) return false;
    auto const* at = text.data();
    auto const* const end = at + text.size();
    if constexpr (std::endian::native == std::endian::little) {
        for (; end - at >= 8; at += 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, at, 8);
            if ((word & 0x8080808080808080) != 0 || first_in_word(word) < 8) return false;
        }
    }
    while (at != end && static_cast<unsigned char>(*at) < 0x80 && !needs_escape(*at))
        ++at;
    return at == end;
}

struct Sequence {
    std::size_t size = 1; // of a valid sequence, or of the longest start of one ("maximal subpart", Unicode §3.9)
    bool valid = false;
};

// The UTF-8 sequence at the start of `text`, which is not empty.
Sequence utf8_sequence(std::string_view text) noexcept {
    auto const byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    unsigned char const lead = byte(0);
    if (lead < 0x80) return {1, true};
    std::size_t size = 0;
    unsigned char low = 0x80, high = 0xBF; // bounds of the second byte; exclude overlong forms, surrogates, > U+10FFFF
    if (lead >= 0xC2 && lead <= 0xDF) {
        size = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        size = 3;
        if (lead == 0xE0) low = 0xA0;
        if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        size = 4;
        if (lead == 0xF0) low = 0x90;
        if (lead == 0xF4) high = 0x8F;
    } else {
        return {1, false};
    }
    for (std::size_t i = 1; i < size; ++i) {
        if (i == text.size() || byte(i) < low || byte(i) > high) return {i, false};
        low = 0x80;
        high = 0xBF;
    }
    return {size, true};
}

// The code unit of `\uXXXX` at the start of `text`, or -1.
int code_unit(std::string_view text) noexcept {
    if (text.size() < 6 || text[0] != '\\' || text[1] != 'u') return -1;
    int unit = 0;
    for (std::size_t i = 2; i < 6; ++i) {
        int const digit = hex_value(text[i]);
        if (digit < 0) return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

void append_utf8(std::string& out, std::int32_t code) {
    auto const put = [&](std::int32_t byte) { out += static_cast<char>(byte); };
    auto const tail = [&](int shift) { put(0x80 | ((code >> shift) & 0x3F)); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0 | (code >> 6));
        tail(0);
    } else if (code < 0x10000) {
        put(0xE0 | (code >> 12));
        tail(6);
        tail(0);
    } else {
        put(0xF0 | (code >> 18));
        tail(12);
        tail(6);
        tail(0);
    }
}

// The first byte of `body`, which is valid UTF-8, that makes it no JSON string body, or its size.
std::size_t first_fault(std::string_view body) noexcept {
    auto const* at = body.data();
    auto const* const end = at + body.size();
    while ((at = next_special(at, end)) != end) {
        if (*at != '\\') break;
        auto const escape = read_escape({at, static_cast<std::size_t>(end - at)});
        if (escape.code < 0) break;
        at += escape.size;
    }
    return static_cast<std::size_t>(at - body.data());
}

} // namespace

Escape read_escape(std::string_view text) noexcept {
    if (text.size() < 2) return {1, -1};
    switch (text[1]) {
        case '"':
        case '\\':
        case '/':
            return {2, text[1]};
        case 'b':
            return {2, '\b'};
        case 'f':
            return {2, '\f'};
        case 'n':
            return {2, '\n'};
        case 'r':
            return {2, '\r'};
        case 't':
            return {2, '\t'};
        case 'u':
            break;
        default:
            return {1, -1};
    }
    int const unit = code_unit(text);
    if (unit < 0) return {1, -1};
    if (unit < 0xD800 || unit > 0xDFFF) return {6, unit};
    if (unit > 0xDBFF) return {6, -1};
    int const low = code_unit(text.substr(6));
    if (low < 0xDC00 || low > 0xDFFF) return {6, -1};
    return {12, 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)};
}

void append_json_body(std::string& out, std::string_view text) {
    if (is_short_and_plain(text)) {
        out += text;
    } else if (is_valid_utf8(text)) {
        append_escaped(out, text);
    } else {
        append_escaped(out, repair_utf8(text));
    }
}

void append_json_string(std::string& out, std::string_view text) {
    out += '"';
    append_json_body(out, text);
    out += '"';
}

std::string json_body_to_text(std::string_view body) {
    std::string text;
    text.reserve(body.size());
    while (true) {
        auto const plain = body.find('\\');
        text.append(body.substr(0, plain));
        if (plain == std::string_view::npos) return text;
        body.remove_prefix(plain);
        auto const escape = read_escape(body);
        if (escape.code < 0) {
            text += kReplacement;
        } else {
            append_utf8(text, escape.code);
        }
        body.remove_prefix(escape.size);
    }
}

std::string_view repair_json_body(std::string_view body, std::string& storage) {
    if (is_short_and_plain(body)) return body;
    bool const utf8 = is_valid_utf8(body);
    if (utf8 && first_fault(body) == body.size()) return body;

    std::string const repaired = utf8 ? std::string(body) : repair_utf8(body);
    std::string_view rest = repaired;
    storage.clear();
    while (true) {
        auto const good = first_fault(rest);
        storage.append(rest.substr(0, good));
        rest.remove_prefix(good);
        if (rest.empty()) return storage;
        if (rest.front() == '\\') {
            storage += kReplacement;
            rest.remove_prefix(read_escape(rest).size);
        } else { // a quote or a control character that should have been escaped
            append_escape(storage, rest.front());
            rest.remove_prefix(1);
        }
    }
}

bool is_valid_utf8(std::string_view text) noexcept {
    return simdjson::validate_utf8(text.data(), text.size());
}

std::string repair_utf8(std::string_view text) {
    std::string out;
    out.reserve(text.size() + 16);
    while (!text.empty()) {
        auto const sequence = utf8_sequence(text);
        out += sequence.valid ? text.substr(0, sequence.size) : kReplacement;
        text.remove_prefix(sequence.size);
    }
    return out;
}

} // namespace parley::core

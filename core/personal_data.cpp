#include "core/personal_data.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/hash.hpp"

namespace parley::core {
namespace {

constexpr std::size_t kCardDigitsMin = 13, kCardDigitsMax = 19;
constexpr std::size_t kPhoneDigitsMin = 8, kPhoneDigitsMax = 15;
constexpr std::size_t kIbanMin = 15, kIbanMax = 34;
constexpr std::size_t kLocalPartMax = 64; // RFC 5321 §4.5.3.1.1
constexpr std::size_t kDigitsOfHash = 6;
constexpr std::string_view kEscapedAt = "%40";

constexpr bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}
constexpr bool is_upper(char c) noexcept {
    return c >= 'A' && c <= 'Z';
}
constexpr bool is_letter(char c) noexcept {
    return is_upper(c) || (c >= 'a' && c <= 'z');
}
constexpr bool is_word(char c) noexcept {
    return is_digit(c) || is_letter(c);
}
bool is_local(char c) noexcept {
    return is_word(c) || std::string_view("._+-'").find(c) != std::string_view::npos;
}
bool is_domain(char c) noexcept {
    return is_word(c) || c == '.' || c == '-';
}

/// Where something was found, and what is put in its place.
struct Found {
    std::size_t begin;
    std::size_t end;
    std::string instead;
};

// `at` is where the "@" stands, which may be written as in a URL.
std::optional<Found> email_around(std::string_view text, std::size_t at, std::size_t from) {
    auto begin = at;
    while (begin > from && at - begin < kLocalPartMax && is_local(text[begin - 1]))
        --begin;
    auto const domain = at + (text[at] == '@' ? 1 : kEscapedAt.size());
    auto end = domain;
    while (end < text.size() && is_domain(text[end]))
        ++end;
    while (end > domain && !is_word(text[end - 1]))
        --end; // the full stop of a sentence
    auto const host = text.substr(domain, end - domain);
    auto const dot = host.rfind('.');
    if (begin == at || dot == host.npos || dot == 0 || host.size() - dot < 3 || !is_letter(host[dot + 1]))
        return std::nullopt;
    std::string address(text.substr(begin, at - begin));
    address.append("@").append(host);
    std::ranges::transform(address, address.begin(),
                           [](char c) { return is_upper(c) ? static_cast<char>(c + 32) : c; });
    return Found{begin, end, "[email " + sha256_hex(address).substr(0, kDigitsOfHash) + "]"};
}

// The digits from `at` on, with single separators between them, up to the last digit.
struct Number {
    std::string digits;
    std::size_t end;
};
Number number_at(std::string_view text, std::size_t at, std::string_view separators) {
    Number number{{}, at};
    for (auto i = at; i < text.size(); ++i) {
        if (is_digit(text[i])) {
            number.digits += text[i];
            number.end = i + 1;
        } else if (separators.find(text[i]) == std::string_view::npos || i + 1 - number.end > 2) {
            break;
        }
    }
    return number;
}

bool ends_word(std::string_view text, std::size_t end) noexcept {
    return end == text.size() || !is_word(text[end]);
}

bool luhn(std::string_view digits) noexcept {
    int sum = 0;
    for (std::size_t i = 0; i < digits.size(); ++i) {
        auto digit = digits[digits.size() - 1 - i] - '0';
        if (i % 2 == 1) digit = digit * 2 > 9 ? digit * 2 - 9 : digit * 2;
        sum += digit;
    }
    return sum % 10 == 0;
}

std::optional<Found> card_at(std::string_view text, std::size_t at) {
    auto const number = number_at(text, at, " -");
    auto const size = number.digits.size();
    if (size < kCardDigitsMin || size > kCardDigitsMax || !ends_word(text, number.end) || !luhn(number.digits))
        return std::nullopt;
    return Found{at, number.end, "[card]"};
}

std::optional<Found> phone_at(std::string_view text, std::size_t at) {
    auto const number = number_at(text, at + 1, " -./()");
    auto const size = number.digits.size();
    if (size < kPhoneDigitsMin || size > kPhoneDigitsMax || !ends_word(text, number.end)) return std::nullopt;
    return Found{at, number.end, "[phone]"};
}

std::optional<Found> iban_at(std::string_view text, std::size_t at) {
    std::string letters;
    auto end = at;
    for (; end < text.size() && letters.size() < kIbanMax; ++end) {
        auto const c = text[end];
        auto const is_gap = c == ' ' && letters.size() % 4 == 0 && end + 1 < text.size();
        if (is_gap && (is_digit(text[end + 1]) || is_upper(text[end + 1]))) continue;
        if (!is_digit(c) && !is_upper(c)) break;
        letters += c;
    }
    if (letters.size() < kIbanMin || !ends_word(text, end) || !is_upper(letters[0]) || !is_upper(letters[1]) ||
        !is_digit(letters[2]) || !is_digit(letters[3]))
        return std::nullopt;
    std::rotate(letters.begin(), letters.begin() + 4, letters.end());
    unsigned rest = 0; // ISO 7064, MOD 97-10
    for (char const c : letters)
        rest = is_digit(c) ? (rest * 10 + static_cast<unsigned>(c - '0')) % 97
                           : (rest * 100 + static_cast<unsigned>(c - 'A' + 10)) % 97;
    if (rest != 1) return std::nullopt;
    return Found{at, end, "[iban]"};
}

// What may begin at a character, and (4 bits up) behind it: every value of every log line is looked through.
constexpr std::uint8_t kAnywhere = 1, kBehindNoWord = 2;
constexpr auto kKinds = [] {
    std::array<std::uint8_t, 256> kinds{};
    for (std::size_t c = 0; c < kinds.size(); ++c) {
        auto const character = static_cast<char>(c);
        bool const begins = is_upper(character) || (character >= '2' && character <= '6');
        kinds[c] = begins ? kBehindNoWord : 0;
        kinds[c] |= (is_word(character) ? kAnywhere : kAnywhere | kBehindNoWord) << 4;
    }
    for (char const c : {'@', '%', '+'})
        kinds[static_cast<unsigned char>(c)] |= kAnywhere;
    return kinds;
}();

bool may_begin(std::string_view text, std::size_t at) noexcept {
    auto const c = text[at];
    if (c == '@') return true;
    if (c == '%') return text.substr(at, kEscapedAt.size()) == kEscapedAt;
    if (!is_digit(c) && !is_upper(c) && c != '+') return false;
    if (at > 0 && is_word(text[at - 1])) return false;
    auto const left = text.size() - at;
    if (c == '+') return left > kPhoneDigitsMin && text[at + 1] >= '1' && text[at + 1] <= '9';
    if (is_upper(c)) return left >= kIbanMin && is_upper(text[at + 1]) && is_digit(text[at + 2]);
    constexpr std::size_t kLookedAt = 8;
    return left >= kCardDigitsMin && c >= '2' && c <= '6' && // the industries that issue payment cards
           text.substr(at, kLookedAt).find_first_not_of("0123456789 -") == std::string_view::npos;
}

std::optional<Found> found_at(std::string_view text, std::size_t at, std::size_t from) {
    if (!may_begin(text, at)) return std::nullopt;
    auto const c = text[at];
    if (c == '+') return phone_at(text, at);
    if (is_digit(c)) return card_at(text, at);
    return is_upper(c) ? iban_at(text, at) : email_around(text, at, from);
}

} // namespace

bool may_hold_personal_data(std::string_view text) noexcept {
    constexpr std::size_t kShortest = 6; // a@b.de
    if (text.size() < kShortest) return false;
    unsigned possible = kAnywhere | kBehindNoWord;
    for (std::size_t at = 0; at < text.size(); ++at) {
        auto const kind = kKinds[static_cast<unsigned char>(text[at])];
        if ((kind & possible) != 0 && may_begin(text, at)) return true;
        possible = kind >> 4;
    }
    return false;
}

std::string mask_personal_data(std::string_view text) {
    std::string out;
    std::size_t from = 0; // what is before it is in `out`
    for (std::size_t at = 0; at < text.size(); ++at) {
        auto const found = found_at(text, at, from);
        if (!found) continue;
        out.append(text.substr(from, found->begin - from)).append(found->instead);
        from = found->end;
        at = from - 1;
    }
    return out.append(text.substr(from));
}

} // namespace parley::core

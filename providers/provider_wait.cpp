// How long a provider asks us to wait (headers or words), and what must be taken out of its texts.
// Pure functions, called only on errors.
#include "providers/provider_wait.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string>

#include "core/json.hpp"
#include "providers/provider_error.hpp"

namespace parley::providers {

namespace {

using std::chrono::milliseconds;
using std::chrono::system_clock;

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_alnum(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
        text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
        text.remove_suffix(1);
    return text;
}

milliseconds capped(double ms) {
    double const max = static_cast<double>(kRetryAfterMax.count());
    return milliseconds(static_cast<std::int64_t>(std::ceil(std::clamp(ms, 0.0, max))));
}

/// A decimal number without sign or exponent at the start of `text`; moves `text` past it.
std::optional<double> take_number(std::string_view& text) {
    if (text.empty() || !is_digit(text.front())) return std::nullopt;
    double number = 0;
    auto const [end, failed] =
        std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (failed == std::errc::result_out_of_range) return 1e12; // far above the cap, which is all that matters
    if (failed != std::errc{}) return std::nullopt;
    return number;
}

std::optional<int> take_int(std::string_view text) {
    int number = 0;
    auto const [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (failed != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return number;
}

/// IMF-fixdate, the only form that servers may send (RFC 9110 §5.6.7): "Sun, 06 Nov 1994 08:49:37 GMT".
std::optional<std::chrono::sys_seconds> parse_http_date(std::string_view text) {
    constexpr std::array<std::string_view, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    if (text.size() != 29 || text.substr(3, 2) != ", " || text.substr(25) != " GMT") return std::nullopt;
    auto const month = std::find(kMonths.begin(), kMonths.end(), text.substr(8, 3));
    auto const day = take_int(text.substr(5, 2));
    auto const year = take_int(text.substr(12, 4));
    auto const hour = take_int(text.substr(17, 2));
    auto const minute = take_int(text.substr(20, 2));
    auto const second = take_int(text.substr(23, 2));
    if (month == kMonths.end() || !day || !year || !hour || !minute || !second) return std::nullopt;
    std::chrono::year_month_day const date{std::chrono::year(*year),
                                           std::chrono::month(static_cast<unsigned>(month - kMonths.begin() + 1)),
                                           std::chrono::day(static_cast<unsigned>(*day))};
    if (!date.ok()) return std::nullopt;
    return std::chrono::sys_days(date) + std::chrono::hours(*hour) + std::chrono::minutes(*minute) +
           std::chrono::seconds(*second);
}

/// Milliseconds of one unit of time; 0 for what is no unit.
double unit_ms(std::string_view unit) {
    if (unit == "ms" || unit.starts_with("millisecond")) return 1;
    if (unit == "s" || unit == "sec" || unit.starts_with("second")) return 1000;
    if (unit == "m" || unit == "min" || unit.starts_with("minute")) return 60'000;
    if (unit == "h" || unit.starts_with("hour")) return 3'600'000;
    return 0;
}

/// Keys as the providers make them (sk-…, gsk_…, JWT), and long runs of letters and digits (Azure: 32 hex or 84).
bool looks_like_credential(std::string_view word) {
    if (word.size() >= 12 && (word.starts_with("sk-") || word.starts_with("gsk_") || word.starts_with("eyJ")))
        return true;
    std::size_t run = 0;
    bool digit = false;
    bool letter = false;
    for (char const c : word) {
        if (is_alnum(c)) {
            ++run;
            (is_digit(c) ? digit : letter) = true;
        } else {
            run = 0;
            digit = letter = false;
        }
        if (run >= 32 && digit && letter) return true;
    }
    return false;
}

bool is_word_char(char c) {
    return is_alnum(c) || c == '-' || c == '_' || c == '.' || c == '*' || c == '+' || c == '/' || c == '=';
}

} // namespace

std::optional<milliseconds> wait_in_words(std::string_view text) {
    for (std::string_view const lead : {"retry after ", "try again in ", "retry in "}) {
        std::size_t const at = text.find(lead);
        if (at == std::string_view::npos) continue;
        std::string_view rest = text.substr(at + lead.size());
        double total_ms = 0;
        bool found = false;
        while (auto const number = take_number(rest)) {
            while (!rest.empty() && rest.front() == ' ')
                rest.remove_prefix(1);
            std::size_t letters = 0;
            while (letters < rest.size() && is_alnum(rest[letters]) && !is_digit(rest[letters]))
                ++letters;
            double const unit = unit_ms(rest.substr(0, letters));
            if (unit == 0) break;
            total_ms += *number * unit;
            found = true;
            rest.remove_prefix(letters);
        }
        if (found) return capped(total_ms);
    }
    return std::nullopt;
}

std::optional<milliseconds> parse_retry_after(std::string_view retry_after, std::string_view retry_after_ms,
                                              system_clock::time_point now) {
    std::string_view text = trimmed(retry_after_ms);
    if (auto const ms = take_number(text); ms && text.empty()) return capped(*ms);

    text = trimmed(retry_after);
    if (auto const date = parse_http_date(text)) {
        using Ms = std::chrono::duration<double, std::milli>; // whole nanoseconds end in 2262
        return capped((Ms(date->time_since_epoch()) - Ms(now.time_since_epoch())).count());
    }
    if (auto const seconds = take_number(text); seconds && text.empty()) return capped(*seconds * 1000);
    return std::nullopt;
}

std::string without_credentials(std::string_view text, std::size_t bytes_max) {
    std::string out;
    bool after_bearer = false;
    for (std::size_t at = 0; at < text.size() && out.size() <= bytes_max;) {
        if (!is_word_char(text[at])) {
            if (text[at] != ' ' && text[at] != ':') after_bearer = false;
            out += text[at++];
            continue;
        }
        std::size_t const begin = at;
        while (at < text.size() && is_word_char(text[at]))
            ++at;
        std::string_view const word = text.substr(begin, at - begin);
        if ((after_bearer && word.size() >= 8) || looks_like_credential(word)) {
            out += "[redacted]";
        } else {
            out += word;
        }
        after_bearer = word == "Bearer" || word == "bearer" || word == "api-key";
    }
    if (out.size() > bytes_max) {
        out.resize(bytes_max);
        while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xC0) == 0x80)
            out.pop_back();
        if (!out.empty() && static_cast<unsigned char>(out.back()) >= 0xC0) out.pop_back();
        out += "…";
    }
    return core::is_valid_utf8(out) ? out : core::repair_utf8(out);
}

} // namespace parley::providers

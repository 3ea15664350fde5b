// TZif: a header, a block of 32-bit data, a second header and block with 64 bits, then a rule in the form of POSIX TZ.
// Pure but for read_zone_file. Every length is checked: the file may be anything.
#include "agents/time_zone.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <fstream>

namespace parley::agents {
namespace {

constexpr std::size_t kFileBytesMax = 1U << 20U;
constexpr std::size_t kHeaderBytes = 44;
constexpr std::int64_t kDay = 86'400;

std::int64_t big_endian(std::string_view bytes) noexcept {
    auto value = static_cast<std::uint64_t>(0);
    for (char const c : bytes)
        value = value << 8U | static_cast<unsigned char>(c);
    if (bytes.size() == 4) return static_cast<std::int32_t>(static_cast<std::uint32_t>(value));
    return static_cast<std::int64_t>(value);
}

struct Block {
    std::size_t transitions = 0, types = 0, text_bytes = 0, size = 0;
    std::size_t time_bytes = 0;
    std::string_view data; // after the header
};

// The block whose header starts `file`.
std::optional<Block> read_block(std::string_view file, std::size_t time_bytes) {
    if (file.size() < kHeaderBytes || !file.starts_with("TZif")) return std::nullopt;
    std::array<std::size_t, 6> counts{};
    for (std::size_t i = 0; i < counts.size(); ++i) {
        auto const count = big_endian(file.substr(20 + 4 * i, 4));
        if (count < 0 || static_cast<std::size_t>(count) > kFileBytesMax) return std::nullopt;
        counts[i] = static_cast<std::size_t>(count);
    }
    auto const [utc_flags, standard_flags, leaps, transitions, types, text] = counts;
    Block block{transitions, types, text, 0, time_bytes, file.substr(kHeaderBytes)};
    block.size =
        transitions * (time_bytes + 1) + types * 6 + text + leaps * (time_bytes + 4) + standard_flags + utc_flags;
    if (types == 0 || block.data.size() < block.size) return std::nullopt;
    return block;
}

std::optional<ZoneOffset> type_at(Block const& block, std::size_t type) {
    if (type >= block.types) return std::nullopt;
    auto const types = block.data.substr(block.transitions * (block.time_bytes + 1));
    auto const entry = types.substr(type * 6, 6);
    auto const text = types.substr(block.types * 6, block.text_bytes);
    auto const name_at = static_cast<unsigned char>(entry[5]);
    if (name_at >= text.size()) return std::nullopt;
    auto const name = text.substr(name_at);
    return ZoneOffset{big_endian(entry.substr(0, 4)), std::string(name.substr(0, name.find('\0')))};
}

// ---- the rule: CET-1CEST,M3.5.0,M10.5.0/3

class Rule {
public:
    explicit Rule(std::string_view text) : rest_(text) {}

    std::optional<ZoneOffset> at(std::int64_t now) {
        auto standard = zone();
        if (!standard) return std::nullopt;
        if (rest_.empty()) return standard;
        auto summer = zone(standard->seconds + 3600);
        auto const begin = date(), end = date();
        if (!summer || !begin || !end || !rest_.empty()) return std::nullopt;
        using namespace std::chrono;
        auto const local = sys_seconds(seconds(now + standard->seconds));
        auto const year = year_month_day(floor<days>(local)).year();
        auto const from = moment(*begin, year) - standard->seconds, to = moment(*end, year) - summer->seconds;
        bool const is_summer = from < to ? now >= from && now < to : now >= from || now < to;
        return is_summer ? summer : standard;
    }

private:
    struct Date {
        char kind = 'M'; // M month.week.day, J day 1..365 without leap days, n day 0..365
        std::int64_t month = 0, week = 0, day = 0;
        std::int64_t seconds = 7200;
    };

    bool take(char c) {
        if (rest_.empty() || rest_.front() != c) return false;
        rest_.remove_prefix(1);
        return true;
    }

    std::optional<std::int64_t> number() {
        std::int64_t value = 0;
        std::size_t digits = 0;
        for (; digits < rest_.size() && digits < 4 && rest_[digits] >= '0' && rest_[digits] <= '9'; ++digits)
            value = value * 10 + (rest_[digits] - '0');
        if (digits == 0) return std::nullopt;
        rest_.remove_prefix(digits);
        return value;
    }

    std::optional<std::int64_t> clock() { // [+-]hh[:mm[:ss]]
        bool const negative = take('-');
        if (!negative) take('+');
        auto const hours = number();
        if (!hours) return std::nullopt;
        auto total = *hours * 3600;
        for (std::int64_t const unit : {60, 1}) {
            if (!take(':')) break;
            auto const part = number();
            if (!part) return std::nullopt;
            total += *part * unit;
        }
        return negative ? -total : total;
    }

    // A name and an offset, which POSIX counts to the west; `otherwise` when none may follow.
    std::optional<ZoneOffset> zone(std::optional<std::int64_t> otherwise = {}) {
        ZoneOffset out;
        bool const quoted = take('<');
        auto const is_name = [quoted](char c) {
            bool const letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
            return letter || (quoted && (c == '+' || c == '-' || (c >= '0' && c <= '9')));
        };
        auto const end = std::find_if_not(rest_.begin(), rest_.end(), is_name);
        out.abbreviation.assign(rest_.begin(), end);
        rest_.remove_prefix(out.abbreviation.size());
        if (out.abbreviation.empty() || (quoted && !take('>'))) return std::nullopt;
        if (otherwise && (rest_.empty() || rest_.front() == ',')) {
            out.seconds = *otherwise;
            return out;
        }
        auto const west = clock();
        if (!west) return std::nullopt;
        out.seconds = -*west;
        return out;
    }

    std::optional<Date> date() {
        Date out;
        if (!take(',')) return std::nullopt;
        if (take('M')) {
            auto const month = number();
            bool const dot = take('.');
            auto const week = number();
            bool const second_dot = take('.');
            auto const day = number();
            if (!month || !dot || !week || !second_dot || !day) return std::nullopt;
            if (*month < 1 || *month > 12 || *week < 1 || *week > 5 || *day > 6) return std::nullopt;
            out.month = *month, out.week = *week, out.day = *day;
        } else {
            out.kind = take('J') ? 'J' : 'n';
            auto const day = number();
            if (!day || *day > 365) return std::nullopt;
            out.day = *day;
        }
        if (take('/')) {
            auto const time = clock();
            if (!time) return std::nullopt;
            out.seconds = *time;
        }
        return out;
    }

    // Local seconds since 1970.
    static std::int64_t moment(Date const& date, std::chrono::year year) {
        using namespace std::chrono;
        auto const count = [](sys_days day) { return static_cast<std::int64_t>(day.time_since_epoch().count()); };
        if (date.kind != 'M') {
            auto day = count(year / January / 1) + date.day;
            if (date.kind == 'J') day += (year.is_leap() && date.day >= 60 ? 0 : -1);
            return day * kDay + date.seconds;
        }
        auto const first = year / month(static_cast<unsigned>(date.month));
        auto const weekday = std::chrono::weekday(static_cast<unsigned>(date.day));
        auto const day = date.week == 5 ? sys_days(first / weekday[last])
                                        : sys_days(first / weekday[static_cast<unsigned>(date.week)]);
        return count(day) * kDay + date.seconds;
    }

    std::string_view rest_;
};

} // namespace

bool is_zone_name(std::string_view name) noexcept {
    auto const plain = [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
               c == '+' || c == '/';
    };
    return !name.empty() && name.size() <= 64 && name.front() != '/' && std::all_of(name.begin(), name.end(), plain);
}

std::optional<std::string> read_zone_file(std::string_view name) {
    if (!is_zone_name(name)) return std::nullopt;
    std::ifstream in("/usr/share/zoneinfo/" + std::string(name), std::ios::binary);
    std::string bytes(kFileBytesMax, '\0');
    in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    bytes.resize(static_cast<std::size_t>(in.gcount()));
    if (!bytes.starts_with("TZif")) return std::nullopt;
    return bytes;
}

std::optional<ZoneOffset> zone_offset(std::string_view tzif, std::int64_t unix_seconds) {
    auto block = read_block(tzif, 4);
    if (!block) return std::nullopt;
    std::string_view rule;
    if (tzif[4] != '\0') { // version 2 and later
        tzif.remove_prefix(kHeaderBytes + block->size);
        block = read_block(tzif, 8);
        if (!block) return std::nullopt;
        rule = block->data.substr(block->size);
        if (rule.size() >= 2 && rule.front() == '\n') rule = rule.substr(1, rule.find('\n', 1) - 1);
    }
    std::size_t after = 0; // transitions that have happened
    while (after < block->transitions &&
           big_endian(block->data.substr(after * block->time_bytes, block->time_bytes)) <= unix_seconds)
        ++after;
    if (after == block->transitions && !rule.empty()) {
        if (auto by_rule = Rule(rule).at(unix_seconds)) return by_rule;
    }
    if (after == 0) return type_at(*block, 0);
    auto const types = block->data.substr(block->transitions * block->time_bytes);
    return type_at(*block, static_cast<unsigned char>(types[after - 1]));
}

} // namespace parley::agents

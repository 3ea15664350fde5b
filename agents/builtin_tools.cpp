#include "agents/builtin_tools.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cmath>

#include "agents/time_zone.hpp"

namespace parley::agents {
namespace {

constexpr std::array<BuiltinTool, 2> kTools{{
    {"get_current_datetime",
     "The current date and time, with weekday and offset from UTC. Give an IANA time zone to have it in local time "
     "there; without one it is UTC.",
     R"({"type":"object","properties":{"timezone":{"type":"string","description":"IANA time zone, for example Europe/Berlin. Default: UTC."}},"additionalProperties":false})"},
    {"add_two_numbers", "Adds two numbers exactly as floating point allows.",
     R"({"type":"object","properties":{"a":{"type":"number","description":"First summand."},"b":{"type":"number","description":"Second summand."}},"required":["a","b"],"additionalProperties":false})"},
}};
constexpr std::array<std::string_view, 2> kNames{kTools[0].name, kTools[1].name};

std::string datetime_text(std::int64_t now, ZoneOffset const& offset, std::string_view zone) {
    using namespace std::chrono;
    static constexpr std::array<std::string_view, 7> kDays{"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                           "Thursday", "Friday", "Saturday"};
    auto const local = sys_seconds(seconds(now + offset.seconds));
    auto const day = floor<days>(local);
    year_month_day const date(day);
    hh_mm_ss const clock(local - day);
    auto const minutes = offset.seconds / 60;
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}{:02}:{:02} ({}, {})", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                       clock.minutes().count(), clock.seconds().count(), offset.seconds < 0 ? '-' : '+',
                       std::abs(minutes) / 60, std::abs(minutes) % 60, kDays[weekday(day).c_encoding()], zone);
}

BuiltinResult current_datetime(boost::json::object const& arguments, std::int64_t now) {
    std::string zone = "UTC";
    if (auto const* const given = arguments.if_contains("timezone"); given && given->is_string())
        zone = given->get_string().c_str();
    if (zone.empty() || zone == "UTC" || zone == "Z" || zone == "GMT") return {datetime_text(now, {}, "UTC")};
    auto const file = read_zone_file(zone);
    auto const offset = file ? zone_offset(*file, now) : std::nullopt;
    if (!offset) {
        return {
            fmt::format("There is no time zone \"{}\" here. Use an IANA name such as Europe/Berlin. In UTC it is {}.",
                        zone.substr(0, 64), datetime_text(now, {}, "UTC")),
            true};
    }
    return {datetime_text(now, *offset, zone)};
}

BuiltinResult sum(boost::json::object const& arguments) {
    auto const& a = arguments.at("a");
    auto const& b = arguments.at("b");
    if (a.is_int64() && b.is_int64()) {
        std::int64_t whole = 0;
        if (!__builtin_add_overflow(a.get_int64(), b.get_int64(), &whole)) return {std::to_string(whole)};
    }
    auto const total = a.to_number<double>() + b.to_number<double>();
    if (!std::isfinite(total)) return {"The sum is too large to be written as a number.", true};
    return {fmt::format("{}", total)};
}

} // namespace

std::span<BuiltinTool const> builtin_tools() noexcept {
    return kTools;
}

std::span<std::string_view const> builtin_tool_names() noexcept {
    return kNames;
}

BuiltinResult run_builtin_tool(std::string_view name, boost::json::object const& arguments, std::int64_t now) {
    if (name == kTools[0].name) return current_datetime(arguments, now);
    auto const is_number = [&arguments](std::string_view key) {
        auto const* const value = arguments.if_contains(key);
        return value != nullptr && value->is_number();
    };
    if (!is_number("a") || !is_number("b")) return {"Both a and b must be numbers.", true};
    return sum(arguments);
}

} // namespace parley::agents

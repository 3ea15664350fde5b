// The tools without a server, and the time zones behind one of them.
#include "agents/builtin_tools.hpp"

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agents/time_zone.hpp"

namespace parley::agents {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kWinter = 1'768'478'400; // 2026-01-15T12:00:00Z, a Thursday
constexpr std::int64_t kSummer = 1'784'116'800; // 2026-07-15T12:00:00Z, a Wednesday

BuiltinResult call(std::string_view name, std::string_view arguments, std::int64_t now = kWinter) {
    return run_builtin_tool(name, boost::json::parse(arguments).as_object(), now);
}

// TZif version 2 without a single transition: only the rule decides, as in "slim" files.
std::string slim_zone(std::string const& rule) {
    auto const header = [](char version) {
        std::string out = "TZif";
        out += version;
        out += std::string(15, '\0');
        for (char const count : {'\0', '\0', '\0', '\0', '\1', '\4'}) // of all kinds: one type, 4 bytes of names
            out += std::string(3, '\0') + count;
        return out + std::string("\0\0\0\0\0\0LMT\0", 10);
    };
    return header('2') + header('2') + "\n" + rule + "\n";
}

std::string at(std::string const& file, std::int64_t when) {
    auto const offset = zone_offset(file, when);
    return offset ? offset->abbreviation + std::to_string(offset->seconds) : "nothing";
}

TEST(TimeZone, RulesDecideWhereNoTransitionDoes) {
    auto const berlin = slim_zone("CET-1CEST,M3.5.0,M10.5.0/3");
    EXPECT_EQ(at(berlin, kWinter), "CET3600");
    EXPECT_EQ(at(berlin, kSummer), "CEST7200");
    EXPECT_EQ(at(berlin, 1'774'745'999), "CET3600");  // 2026-03-29T00:59:59Z
    EXPECT_EQ(at(berlin, 1'774'746'000), "CEST7200"); // 01:00:00Z
    EXPECT_EQ(at(berlin, 1'792'889'999), "CEST7200"); // 2026-10-25T00:59:59Z
    EXPECT_EQ(at(berlin, 1'792'890'000), "CET3600");
    auto const sydney = slim_zone("AEST-10AEDT,M10.1.0,M4.1.0/3"); // summer over the turn of the year
    EXPECT_EQ(at(sydney, kWinter), "AEDT39600");
    EXPECT_EQ(at(sydney, kSummer), "AEST36000");
    EXPECT_EQ(at(slim_zone("<+0330>-3:30"), kSummer), "+033012600");
    EXPECT_EQ(at(slim_zone("EST5"), kSummer), "EST-18000");
    EXPECT_EQ(at(slim_zone(""), kSummer), "LMT0");
}

TEST(TimeZone, BrokenFilesAreNoZones) {
    auto const whole = slim_zone("CET-1CEST,M3.5.0,M10.5.0/3");
    for (std::size_t size = 0; size < whole.size(); ++size)
        zone_offset(std::string_view(whole).substr(0, size), kWinter); // must not read past the end
    EXPECT_EQ(at("", kWinter), "nothing");
    EXPECT_EQ(at("not a zone file, but long enough to hold a header", kWinter), "nothing");
    EXPECT_FALSE(is_zone_name("../etc/passwd"));
    EXPECT_FALSE(is_zone_name("/etc/localtime"));
    EXPECT_FALSE(is_zone_name(""));
    EXPECT_TRUE(is_zone_name("America/Argentina/Buenos_Aires"));
}

TEST(BuiltinTools, CurrentDatetime) {
    EXPECT_EQ(call("get_current_datetime", "{}").text, "2026-01-15T12:00:00+00:00 (Thursday, UTC)");
    EXPECT_EQ(call("get_current_datetime", R"({"timezone":"UTC"})", kSummer).text,
              "2026-07-15T12:00:00+00:00 (Wednesday, UTC)");
    auto const nowhere = call("get_current_datetime", R"({"timezone":"Mars/Olympus"})");
    EXPECT_TRUE(nowhere.is_error);
    EXPECT_THAT(nowhere.text, HasSubstr("no time zone \"Mars/Olympus\""));
    EXPECT_THAT(nowhere.text, HasSubstr("2026-01-15T12:00:00+00:00"));
    ASSERT_TRUE(read_zone_file("Europe/Berlin")) << "no zone files: apt-get install tzdata";
    EXPECT_EQ(call("get_current_datetime", R"({"timezone":"Europe/Berlin"})", kSummer).text,
              "2026-07-15T14:00:00+02:00 (Wednesday, Europe/Berlin)");
    EXPECT_EQ(call("get_current_datetime", R"({"timezone":"America/New_York"})", kWinter).text,
              "2026-01-15T07:00:00-05:00 (Thursday, America/New_York)");
}

TEST(BuiltinTools, AddTwoNumbers) {
    EXPECT_EQ(call("add_two_numbers", R"({"a":2,"b":40})").text, "42");
    EXPECT_EQ(call("add_two_numbers", R"({"a":0.5,"b":1})").text, "1.5");
    EXPECT_EQ(call("add_two_numbers", R"({"a":9223372036854775807,"b":1})").text, "9.223372036854776e+18");
    EXPECT_TRUE(call("add_two_numbers", R"({"a":1e308,"b":1e308})").is_error);
    EXPECT_TRUE(call("add_two_numbers", R"({"a":1})").is_error);
}

TEST(BuiltinTools, SchemasAreJson) {
    for (auto const& tool : builtin_tools())
        EXPECT_TRUE(boost::json::parse(tool.schema).is_object()) << tool.name;
}

} // namespace
} // namespace parley::agents

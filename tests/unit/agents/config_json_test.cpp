// The parser of configuration files: places of faults, keys given twice, comments.
#include "agents/config_json.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

namespace parley::agents {
namespace {

namespace json = boost::json;

TEST(ConfigJson, BuildsTheSameTreeAsBoost) {
    for (std::string const text :
         {"null", "true", "-0", "1.5e3", "18446744073709551615", "-9223372036854775808", "\"\"", "[]", "{}",
          " {\"a\" : [1, 2.5, {\"b\": null, \"c\": [[], {}]}, \"x\\n\\u00e4\\ud83d\\ude00\"], \"\": false}\n",
          "\"\\u0000\"", "[[[[[[[[[[1]]]]]]]]]]"}) {
        auto const parsed = parse_config_json(text, JsonStyle::kStrict);
        ASSERT_TRUE(parsed.value.has_value()) << text;
        EXPECT_TRUE(parsed.faults.empty());
        EXPECT_EQ(*parsed.value, json::parse(text)) << text;
    }
}

TEST(ConfigJson, BlanksCommentsOnlyOutsideOfStrings) {
    auto const parsed = parse_config_json(
        "// a\n{ /* b \" */ \"u//\": \"http://h/*x*/\\\"//\", // \"c\"\n"
        "\"l\": [1, /**/ 2,],\n/* \n */} // end",
        JsonStyle::kRelaxed);
    ASSERT_TRUE(parsed.value.has_value());
    EXPECT_EQ(json::serialize(*parsed.value), R"({"u//":"http://h/*x*/\"//","l":[1,2]})");
}

TEST(ConfigJson, NamesThePlace) {
    struct Case {
        std::string_view text;
        int line, column;
        std::string_view found;
    };
    for (auto const& [text, line, column, found] : {
             Case{"", 1, 1, "an empty file"},
             Case{" \n ", 2, 2, "an empty file"},
             Case{"{\"a\":1", 1, 7, "the end of the file"},
             Case{"{\"a\" \"b\"}", 1, 6, "an unexpected \""},
             Case{"[1]\n\n x", 3, 2, "text after the end"},
             Case{"{\n  \"a\": tru\n}", 2, 11, "the end of the line"},
             Case{"{\"a\": \"x\n\"}", 1, 9, "the end of the line"},
             Case{"[\"\xff\"]", 1, 3, "text that is not UTF-8 (byte 0xFF)"},
             Case{"{\n \"n\": \"\u00fc Gr\xfc\xdf\"}", 2, 13, "text that is not UTF-8 (byte 0xFC)"},
             Case{"\xFF\xFE[\0]\0", 1, 1, "text that is not UTF-8 (byte 0xFF)"},
             Case{"[\"\xe4", 1, 3, "text that is not UTF-8 (byte 0xE4)"},
             Case{"[\x7f]", 1, 2, "a byte that may not stand here (127)"},
             Case{"\xEF\xBB\xBF[x]", 1, 2, "an unexpected x"},
             Case{"[1,]", 1, 4, "an unexpected ]"},
             Case{"/* open", 1, 1, "an unexpected /"},
             Case{"[01]", 1, 3, "an unexpected 1"},
             Case{"[NaN]", 1, 2, "an unexpected N"},
         }) {
        auto const parsed = parse_config_json(text, JsonStyle::kStrict);
        EXPECT_FALSE(parsed.value.has_value()) << text;
        ASSERT_EQ(parsed.faults.size(), 1U) << text;
        EXPECT_EQ(parsed.faults[0].line, line) << text;
        EXPECT_EQ(parsed.faults[0].column, column) << text;
        EXPECT_EQ(parsed.faults[0].found.substr(0, found.size()), found) << text;
    }
}

TEST(ConfigJson, LimitsDepth) {
    EXPECT_TRUE(parse_config_json(std::string(32, '[') + std::string(32, ']'), JsonStyle::kStrict).value);
    auto const deep = parse_config_json(std::string(100'000, '['), JsonStyle::kStrict);
    ASSERT_EQ(deep.faults.size(), 1U);
    EXPECT_EQ(deep.faults[0].found, "more than 32 levels of brackets");
}

TEST(ConfigJson, ReportsEveryKeyGivenTwice) {
    auto const parsed = parse_config_json(
        "{\"a\": 1, \"b\": [{\"x\": 1,\n\"\\u0078\": 2}], \"a\": {\"a\": 0},\n\"a\": 3}", JsonStyle::kStrict);
    ASSERT_TRUE(parsed.value.has_value());
    std::string places;
    for (auto const& fault : parsed.faults)
        places += std::to_string(fault.line) + fault.pointer + " ";
    EXPECT_EQ(places, "2/b/0/x 2/a 3/a ");
}

TEST(ConfigJson, RefusesNumbersThatAreNone) {
    auto const parsed = parse_config_json("{\"a\": [0, -1e999]}", JsonStyle::kStrict);
    ASSERT_EQ(parsed.faults.size(), 1U);
    EXPECT_EQ(parsed.faults[0].pointer, "/a/1");
}

TEST(ConfigJson, AZeroWithALargeExponentIsAZero) {
    for (std::string const text : {"0e400", "-0e8900", "0.0e999"}) {
        auto const parsed = parse_config_json(text, JsonStyle::kStrict);
        ASSERT_TRUE(parsed.value.has_value()) << text;
        EXPECT_TRUE(parsed.faults.empty()) << text;
        EXPECT_EQ(parsed.value->as_double(), 0) << text;
    }
}

TEST(ConfigJson, FindsTheLinesOfPointers) {
    std::string_view const text = "{ // c\n\"a\": {\n  \"b/c~\": [\n 1,\n  {\"x\":\n 2}, \"s\"\n]}}";
    std::vector<Fault> faults(6);
    faults[0].pointer = "/a";
    faults[1].pointer = "/a/b~1c~0";
    faults[2].pointer = "/a/b~1c~0/0";
    faults[3].pointer = "/a/b~1c~0/1/x";
    faults[4].pointer = "/a/b~1c~0/2";
    faults[5].pointer = "/none";
    set_lines(text, JsonStyle::kRelaxed, faults, 1);
    std::vector<int> lines;
    for (auto const& fault : faults)
        lines.push_back(fault.line);
    EXPECT_EQ(lines, (std::vector<int>{0, 3, 4, 5, 6, 0})); // the first one was not asked for
}

} // namespace
} // namespace parley::agents

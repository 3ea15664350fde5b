// Variables in configuration strings: every form, every way to get one wrong, and the bounds.
#include "core/expand.hpp"

#include <gtest/gtest.h>

#include <map>

namespace parley::core {
namespace {

Expansion expand_with(std::string_view text, std::map<std::string, std::string, std::less<>> values,
                      std::size_t bytes_max = kExpandedBytesMax) {
    auto const lookup = [&values](std::string_view name) -> std::optional<std::string> {
        auto const entry = values.find(name);
        return entry == values.end() ? std::nullopt : std::optional(entry->second);
    };
    return expand(text, lookup, bytes_max);
}

TEST(Expand, PutsInEveryForm) {
    struct Case {
        std::string_view text, expected;
    };
    for (auto const& [text, expected] : {
             Case{"", ""},
             Case{"plain", "plain"},
             Case{"${A}", "one"},
             Case{"<${A}|${B}>", "<one|two>"},
             Case{"${A}${A}", "oneone"},
             Case{"${A:-other}", "one"},
             Case{"${NONE:-other}", "other"},
             Case{"${NONE:-}", ""},
             Case{"${NONE:-a:-b}", "a:-b"},
             Case{"${NONE:-http://h:1/v1?x=$y}", "http://h:1/v1?x=$y"},
             Case{"${env:A}", "one"},
             Case{"${env:NONE:-d}", "d"},
             Case{"${input:my-key.x}", "asked"},
             Case{"${_x9}", "low"},
         }) {
        auto const result =
            expand_with(text, {{"A", "one"}, {"B", "two"}, {"input:my-key.x", "asked"}, {"_x9", "low"}});
        EXPECT_TRUE(result.complete()) << text << ": " << result.problem;
        EXPECT_EQ(result.text, expected) << text;
    }
}

TEST(Expand, LeavesLiteralsAlone) {
    for (auto const& [text, expected] : std::map<std::string_view, std::string_view>{
             {"$", "$"},
             {"$A", "$A"},
             {"{A}", "{A}"},
             {"100$ {x}", "100$ {x}"},
             {"$${A}", "${A}"},
             {"a$${b", "a${b"},
             {"$$${A}", "$${A}"},
             {"$$", "$$"},
             {"$${A}${A}", "${A}one"},
             {"}${A}", "}one"},
         }) {
        auto const result = expand_with(text, {{"A", "one"}});
        EXPECT_TRUE(result.complete()) << text;
        EXPECT_EQ(result.text, expected) << text;
    }
}

TEST(Expand, DoesNotExpandAgain) {
    auto const result = expand_with("${A}", {{"A", "${B} $${C} ${"}, {"B", "no"}});
    EXPECT_TRUE(result.complete());
    EXPECT_EQ(result.text, "${B} $${C} ${");
}

TEST(Expand, NamesWhatIsNotSetOnceAndInOrder) {
    auto const result = expand_with("${Z} ${A} ${env:Z} ${B:-x} ${EMPTY}", {{"EMPTY", ""}});
    EXPECT_FALSE(result.complete());
    EXPECT_TRUE(result.problem.empty());
    EXPECT_EQ(result.unset, (std::vector<std::string>{"Z", "A", "EMPTY"}));
    EXPECT_TRUE(result.has_reference);
}

TEST(Expand, WithoutLookupNothingIsSet) {
    EXPECT_EQ(expand("${A}", {}).unset, std::vector<std::string>{"A"});
    EXPECT_EQ(expand("${A:-d}", {}).text, "d");
}

TEST(Expand, RefusesWhatNamesNoVariable) {
    struct Case {
        std::string_view text;
        std::size_t at;
    };
    for (auto const& [text, at] :
         {Case{"${", 0}, Case{"ab${A", 2}, Case{"${}", 0}, Case{"${1A}", 0}, Case{"${A B}", 0}, Case{"${A:d}", 0},
          Case{"${A-d}", 0}, Case{"${other:A}", 0}, Case{"${env:}", 0}, Case{"${input:}", 0}, Case{"${:-d}", 0},
          Case{"${A:-${B}}", 0}, Case{"${\xC3\xA4}", 0}, Case{"${A}${A b}", 4}}) {
        auto const result = expand_with(text, {{"A", "one"}, {"B", "two"}});
        EXPECT_FALSE(result.complete()) << text;
        EXPECT_FALSE(result.problem.empty()) << text;
        EXPECT_EQ(result.problem_at_bytes, at) << text;
    }
}

TEST(Expand, ProblemsQuoteNoValues) {
    auto const result = expand_with("${A}hunter2${A b}", {{"A", "s3cret"}});
    EXPECT_EQ(result.problem.find("s3cret"), std::string::npos);
    EXPECT_EQ(result.problem.find("hunter2"), std::string::npos);
}

TEST(Expand, IsBounded) {
    auto const large = expand_with("${A}${A}${A}", {{"A", std::string(40, 'x')}}, 100);
    EXPECT_FALSE(large.problem.empty());
    EXPECT_TRUE(large.text.empty());
    EXPECT_TRUE(expand_with("${A}${A}", {{"A", std::string(50, 'x')}}, 100).complete());
    EXPECT_FALSE(expand_with(std::string(101, 'x'), {}, 100).problem.empty());

    std::string many;
    for (int i = 0; i < 1000; ++i)
        many += "${V" + std::to_string(i) + "}";
    EXPECT_EQ(expand_with(many, {}).unset.size(), 64U);
}

} // namespace
} // namespace parley::core

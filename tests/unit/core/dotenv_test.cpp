// The .env format: what people write, and what they get wrong.
#include "core/dotenv.hpp"

#include <gtest/gtest.h>

#include <map>

namespace parley::core {
namespace {

std::string value_of(std::string_view line) {
    auto const file = parse_dotenv(line);
    EXPECT_TRUE(file.faults.empty()) << line << ": " << (file.faults.empty() ? "" : file.faults[0].problem);
    auto const* value = file.find("K");
    return value == nullptr ? "<none>" : *value;
}

TEST(Dotenv, ReadsValues) {
    for (auto const& [line, expected] : std::map<std::string_view, std::string_view>{
             {"K=v", "v"},
             {"K=", ""},
             {"K= ", ""},
             {"K=#no", ""},
             {"  K  =  a b  ", "a b"},
             {"export K=v", "v"},
             {"export\tK=v", "v"},
             {"K=a=b==", "a=b=="},
             {"K=sk-1#2", "sk-1#2"},
             {"K=v # why", "v"},
             {"K=v\t# why", "v"},
             {"K='a # b $X \\n'", "a # b $X \\n"},
             {"K=\"a # b\" # why", "a # b"},
             {"K=\"a\\nb\\t\\\"c\\\" \\\\ \\$ \\x\"", "a\nb\t\"c\" \\ $ \\x"},
             {"K='one\ntwo'", "one\ntwo"},
             {"K=''", ""},
             {"K=\"it's\"", "it's"},
             {"K=it's", "it's"},
             {"K=${OTHER}", "${OTHER}"},
             {"K=a\nK=b", "b"},
             {"\xEF\xBB\xBFK=v", "v"},
             {"K=v\r\n", "v"},
             {"\r\n\n# c\n\nK=v", "v"},
             {"K=\xC3\xA4", "\xC3\xA4"},
         }) {
        EXPECT_EQ(value_of(line), expected) << line;
    }
}

TEST(Dotenv, ExportCanBeAName) {
    auto const file = parse_dotenv("export=1\nexport =2");
    EXPECT_TRUE(file.faults.empty());
    ASSERT_EQ(file.entries.size(), 2U);
    EXPECT_EQ(file.entries[1].name, "export");
}

TEST(Dotenv, CountsLines) {
    auto const file = parse_dotenv("A=1\r\n\r\n# c\r\nB='x\ny'\nC=3\rD=4");
    ASSERT_EQ(file.entries.size(), 4U);
    EXPECT_EQ(file.entries[0].line, 1);
    EXPECT_EQ(file.entries[1].line, 4);
    EXPECT_EQ(file.entries[2].line, 6);
    EXPECT_EQ(file.entries[3].line, 7);
}

TEST(Dotenv, ReportsAllFaultsAndKeepsTheRest) {
    auto const file = parse_dotenv("A=1\nsecret-value\n1B=2\nC-D=3\n=4\nE='open\nF=5\nG=\"x\" y\nH=6\nI=a\0b\n");
    std::vector<int> lines;
    for (auto const& fault : file.faults)
        lines.push_back(fault.line);
    EXPECT_EQ(lines, (std::vector<int>{2, 3, 4, 5, 6, 8}));
    for (auto const& fault : file.faults)
        EXPECT_EQ(fault.problem.find("secret"), std::string::npos);
    ASSERT_NE(file.find("F"), nullptr);
    EXPECT_EQ(*file.find("F"), "5");
    EXPECT_NE(file.find("H"), nullptr);
    EXPECT_EQ(file.find("G"), nullptr);
}

TEST(Dotenv, RefusesZeroBytes) {
    using namespace std::string_view_literals;
    auto const file = parse_dotenv("A=x\0y\nB=1"sv);
    ASSERT_EQ(file.faults.size(), 1U);
    EXPECT_EQ(file.faults[0].line, 1);
    EXPECT_EQ(file.find("A"), nullptr);
    EXPECT_NE(file.find("B"), nullptr);
}

} // namespace
} // namespace parley::core

// The line splitter gives the same lines however its input is cut, and never holds more than its limit.
#include "providers/ndjson.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace parley::providers {

namespace {

struct Lines {
    std::vector<std::string> lines;
    std::string rest;

    bool operator==(Lines const&) const = default;
};

Lines read(std::vector<std::string_view> const& pieces) {
    NdjsonReader reader;
    Lines result;
    for (std::string_view const piece : pieces) {
        std::string const memory(piece);
        std::vector<std::string_view> lines;
        EXPECT_TRUE(reader.feed(memory, lines));
        for (std::string_view const line : lines)
            result.lines.emplace_back(line);
    }
    result.rest = reader.rest();
    return result;
}

TEST(Ndjson, GivesLinesWithoutTheirEnds) {
    EXPECT_EQ(read({"{\"a\":1}\n{\"b\":2}\r\n\n \t\r\n  {\"c\":3} \nrest"}),
              (Lines{{"{\"a\":1}", "{\"b\":2}", "{\"c\":3}"}, "rest"}));
}

TEST(Ndjson, SkipsAByteOrderMarkAtTheStartOnly) {
    EXPECT_EQ(read({"\xEF\xBB\xBF{}\n\xEF\xBB\xBF{}\n"}), (Lines{{"{}", "\xEF\xBB\xBF{}"}, ""}));
    EXPECT_EQ(read({"\xEF\xBB\xBF{}"}), (Lines{{}, "{}"}));
}

TEST(Ndjson, IsTheSameAtEverySplitPoint) {
    std::string_view const text = "\xEF\xBB\xBF{\"text\":\"\xC3\xBC \\n\"}\r\n\n{\"b\":2}\n{\"c\"";
    Lines const whole = read({text});
    ASSERT_EQ(whole.lines.size(), 2u);
    for (std::size_t at = 0; at <= text.size(); ++at)
        EXPECT_EQ(read({text.substr(0, at), text.substr(at)}), whole) << "split at " << at;
    std::vector<std::string_view> bytes;
    for (std::size_t at = 0; at < text.size(); ++at)
        bytes.push_back(text.substr(at, 1));
    EXPECT_EQ(read(bytes), whole);
}

TEST(Ndjson, KeepsALineOfThePreviousCallApartFromTheNext) {
    NdjsonReader reader;
    std::vector<std::string_view> lines;
    ASSERT_TRUE(reader.feed("{\"a\":", lines));
    std::string const bytes = "1}\n{\"b\":2}\n{\"c\":";
    ASSERT_TRUE(reader.feed(bytes, lines));
    ASSERT_EQ(lines.size(), 2u);
    EXPECT_EQ(lines[0], "{\"a\":1}");
    EXPECT_EQ(lines[1], "{\"b\":2}");
    EXPECT_EQ(reader.rest(), "{\"c\":");
}

TEST(Ndjson, TakesALineOfTheLimitAndRefusesALongerOne) {
    std::string const at_limit(16, 'x');
    for (std::string const& extra : {std::string(), std::string("y")}) {
        std::string const line = at_limit + extra;
        for (std::size_t split = 0; split <= line.size(); ++split) {
            NdjsonReader reader(16);
            std::vector<std::string_view> lines;
            std::string const end = line.substr(split) + "\n";
            auto const first = reader.feed(line.substr(0, split), lines);
            auto const second = first ? reader.feed(end, lines) : first;
            EXPECT_EQ(second.has_value(), extra.empty()) << "split at " << split;
            if (!second) {
                EXPECT_EQ(second.error().code, core::Errc::kUpstreamInvalid);
            } else {
                EXPECT_EQ(lines, std::vector<std::string_view>{line});
            }
        }
    }
}

TEST(Ndjson, RefusesEndlessInputWithoutALineEnd) {
    NdjsonReader reader(64);
    std::vector<std::string_view> lines;
    bool refused = false;
    for (int i = 0; i < 100 && !refused; ++i)
        refused = !reader.feed("xxxxxxxxxx", lines);
    EXPECT_TRUE(refused);
    EXPECT_LE(reader.rest().size(), 64u);
}

} // namespace

} // namespace parley::providers

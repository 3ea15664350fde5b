// The SSE reader: every form that WHATWG HTML §9.2.6 allows, and every way in which the bytes may be cut.
#include "net/sse.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace parley::net {
namespace {

using namespace std::string_view_literals;

struct Seen {
    std::string event;
    std::string data;
    bool operator==(Seen const&) const = default;
};

void PrintTo(Seen const& seen, std::ostream* out) {
    *out << '[' << seen.event << "] " << testing::PrintToString(seen.data);
}

/// Each piece in memory of its own that is freed as soon as it is read.
class Feeder {
public:
    explicit Feeder(bool finish = false) : finish_(finish) {}

    std::vector<Seen> read(std::vector<std::string_view> const& pieces) {
        for (auto const piece : pieces) {
            auto const memory = std::make_unique<std::string>(piece);
            reader.feed(*memory);
            take();
        }
        SseEvent event;
        if (finish_) {
            auto const last = reader.finish(event);
            if (last && *last) seen_.push_back({std::string(event.event), std::string(event.data)});
        }
        return seen_;
    }

    SseReader reader;
    core::Errc failed_with = core::Errc::kInternal;

private:
    void take() {
        SseEvent event;
        while (true) {
            auto const more = reader.next(event);
            if (!more) failed_with = more.error().code;
            if (!more || !*more) return;
            seen_.push_back({std::string(event.event), std::string(event.data)});
        }
    }

    bool finish_;
    std::vector<Seen> seen_;
};

std::vector<Seen> read(std::string_view text) {
    return Feeder().read({text});
}

/// The same events whatever the cut: whole, at every point, byte by byte, and in three pieces.
void expect_events(std::string_view text, std::vector<Seen> const& expected, bool finish = false) {
    ASSERT_EQ(Feeder(finish).read({text}), expected);
    for (std::size_t at = 0; at <= text.size(); ++at) {
        ASSERT_EQ(Feeder(finish).read({text.substr(0, at), text.substr(at)}), expected) << "cut at " << at;
        for (std::size_t next = at; next <= text.size(); next += 3) {
            ASSERT_EQ(Feeder(finish).read({text.substr(0, at), text.substr(at, next - at), text.substr(next)}),
                      expected)
                << "cut at " << at << " and " << next;
        }
    }
    std::vector<std::string_view> bytes;
    for (std::size_t at = 0; at < text.size(); ++at)
        bytes.push_back(text.substr(at, 1));
    ASSERT_EQ(Feeder(finish).read(bytes), expected) << "byte by byte";
}

TEST(SseReader, ReadsEventsWithAnyLineEnds) {
    expect_events("data: a\n\ndata: b\n\n", {{"", "a"}, {"", "b"}});
    expect_events("data: a\r\n\r\ndata: b\r\n\r\n", {{"", "a"}, {"", "b"}});
    expect_events("data: a\r\rdata: b\r\r", {{"", "a"}, {"", "b"}});
    expect_events("data: a\r\n\ndata: b\n\r\ndata: c\r\r\ndata: d\n\r", {{"", "a"}, {"", "b"}, {"", "c"}, {"", "d"}});
}

TEST(SseReader, JoinsLinesOfData) {
    expect_events("data: a\ndata: b\ndata:c\n\n", {{"", "a\nb\nc"}});
    expect_events("data\ndata\n\n", {{"", "\n"}});
    expect_events("data: a\nid: 1\ndata: b\n: x\ndata: c\n\n", {{"", "a\nb\nc"}});
}

TEST(SseReader, TakesOneSpaceAtMostAfterTheColon) {
    expect_events("data:a\n\ndata:  b\n\ndata:\tc\n\n", {{"", "a"}, {"", " b"}, {"", "\tc"}});
}

TEST(SseReader, GivesEmptyDataButNoEventWithoutData) {
    expect_events("data:\n\ndata\n\nevent: x\n\nid: 3\n\n\n\n: c\n\n", {{"", ""}, {"", ""}});
}

TEST(SseReader, GivesNamesAndForgetsThem) {
    expect_events("event: a\ndata: 1\n\ndata: 2\n\nevent: b\n\ndata: 3\n\nevent: c\nevent: d\ndata: 4\n\n",
                  {{"a", "1"}, {"", "2"}, {"", "3"}, {"d", "4"}});
}

TEST(SseReader, SkipsCommentsAndUnknownFields) {
    expect_events(": hi\n:\nfoo: bar\ndatax: 1\n data: 2\ndata: a\n\n", {{"", "a"}});
}

TEST(SseReader, SkipsAByteOrderMarkOnlyAtTheStart) {
    expect_events(
        "\xEF\xBB\xBF"
        "data: a\n\n",
        {{"", "a"}});
    Feeder half_a_mark;
    EXPECT_TRUE(half_a_mark
                    .read({"\xEF\xBB"
                           "data: a\n\ndata: b\n\n"})
                    .empty());
    EXPECT_EQ(half_a_mark.failed_with, core::Errc::kUpstreamInvalid) << "what it said there is lost: that must be told";
    expect_events(
        "data: a\n\n\xEF\xBB\xBF"
        "data: b\n\n",
        {{"", "a"}});
}

TEST(SseReader, KeepsBytesThatAreNotUtf8) {
    expect_events("data: \xE2\x82\xAC \xFF\x00 x\n\n"sv, {{"", std::string("\xE2\x82\xAC \xFF\x00 x"sv)}});
}

TEST(SseReader, LeavesAnUnfinishedEventToFinish) {
    expect_events("data: a\n\ndata: b", {{"", "a"}});
    expect_events("data: a\n\ndata: b", {{"", "a"}, {"", "b"}}, true);
    expect_events("data: a\n\nevent: x\ndata: b\ndata: c\r", {{"", "a"}, {"x", "b\nc"}}, true);
    expect_events("data: a\n\n", {{"", "a"}}, true);
    expect_events("data: a\n\nid: 7", {{"", "a"}}, true);
}

TEST(SseReader, RemembersIdAndRetry) {
    for (std::size_t at = 0; at <= 20; ++at) {
        std::string_view const text = "id: 5\nretry: 1500\nid: a\0b\nretry: 1s\nretry: -1\ndata:\n\n"sv;
        Feeder feeder;
        EXPECT_EQ(feeder.read({text.substr(0, at), text.substr(at)}), (std::vector<Seen>{{"", ""}}));
        EXPECT_EQ(feeder.reader.last_event_id(), "5");
        EXPECT_EQ(feeder.reader.retry(), std::chrono::milliseconds(1500));
    }
    Feeder reset;
    reset.read({"id: 5\n\nid\n\n"});
    EXPECT_EQ(reset.reader.last_event_id(), "");
    EXPECT_EQ(reset.reader.retry(), std::nullopt);
}

TEST(SseReader, TellsAStreamFromOtherText) {
    for (auto const text : {"<html>\n<body>\n", "{\"a\": 1}\n", "does not compute\n", "\n\n"}) {
        Feeder feeder;
        feeder.read({text});
        EXPECT_FALSE(feeder.reader.recognised()) << text;
    }
    for (auto const text : {": hi\n", "data: x\n", "event: x\n", "id: 1\n", "retry: 5\n"}) {
        Feeder feeder;
        feeder.read({text});
        EXPECT_TRUE(feeder.reader.recognised()) << text;
    }
}

TEST(SseReader, GivesViewsOfTheInputForWholeEvents) {
    std::string const text = "data: first\n\nevent: x\ndata: second\n\n";
    SseReader reader;
    reader.feed(text);
    SseEvent event;
    for (auto const expected : {"first", "second"}) {
        ASSERT_TRUE(*reader.next(event));
        EXPECT_EQ(event.data, expected);
        EXPECT_GE(event.data.data(), text.data());
        EXPECT_LT(event.data.data(), text.data() + text.size());
    }
    EXPECT_FALSE(*reader.next(event));
}

TEST(SseReader, ReadsLongLinesInManyPieces) {
    std::string const long_text(300'000, 'x');
    std::string const text = "data: " + long_text + "\n\n";
    std::vector<std::string_view> pieces;
    for (std::size_t at = 0; at < text.size(); at += 1000)
        pieces.push_back(std::string_view(text).substr(at, 1000));
    EXPECT_EQ(Feeder().read(pieces), (std::vector<Seen>{{"", long_text}}));
}

TEST(SseReader, RefusesALineAboveTheLimit) {
    std::string const at_limit = "data:" + std::string(kSseEventBytesMax - 5, 'x');
    EXPECT_EQ(read(at_limit + "\n\n").size(), 1U);

    Feeder whole;
    EXPECT_TRUE(whole.read({at_limit + "x\n\n"}).empty());
    EXPECT_EQ(whole.failed_with, core::Errc::kUpstreamInvalid);

    Feeder endless;
    std::string const piece(1'000'000, 'x');
    EXPECT_TRUE(endless.read(std::vector<std::string_view>(9, piece)).empty());
    EXPECT_EQ(endless.failed_with, core::Errc::kUpstreamInvalid);
}

TEST(SseReader, RefusesAnEventOfManyLinesAboveTheLimit) {
    std::string const line = "data:" + std::string(1'000'000, 'x') + "\n";
    Feeder feeder;
    EXPECT_TRUE(feeder.read(std::vector<std::string_view>(9, line)).empty());
    EXPECT_EQ(feeder.failed_with, core::Errc::kUpstreamInvalid);
}

// A reader that looked for each kind of line end anew at every line would need minutes.
TEST(SseReader, ReadsManyLinesOfOneKindInLinearTime) {
    std::string text;
    for (int i = 0; i < 300'000; ++i)
        text += "data:x\r\r";
    EXPECT_EQ(read(text).size(), 300'000U);
    std::string blank(1'000'000, '\n');
    EXPECT_TRUE(read(blank + "\r").empty());
}

} // namespace
} // namespace parley::net

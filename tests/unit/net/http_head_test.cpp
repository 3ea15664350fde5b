// The gate, row by row: what is let in, and what is refused with which status (facts of RFC 9112, the smuggling
// battery, limits).
#include "net/http_head.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "net/http_chunked.hpp"

namespace parley::net {
namespace {

using namespace std::string_literals;

HeadResult parse(std::string const& bytes, RequestHead& head) {
    return parse_request_head(bytes, {}, head);
}

struct Refusal {
    std::string name;
    std::string bytes;
    int status;
};

std::string with(std::string const& lines) {
    return "POST /x HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n";
}

std::vector<Refusal> refusals() {
    return {
        {"not HTTP", "\x16\x03\x01\x02", 400},
        {"bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
        {"bare LF after a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
        {"bare CR in a field", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400},
        {"NUL in a field", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"s, 400},
        {"space before the colon", with("X : y\r\n"), 400},
        {"no colon", with("X\r\n"), 400},
        {"empty name", with(": y\r\n"), 400},
        {"0x80 in a name", with("X\x80: y\r\n"), 400},
        {"folded field", with("X: a\r\n b\r\n"), 400},
        {"folded first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
        {"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"HTTP/0.9", "GET /\r\n", 400},
        {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
        {"HTTP/2.0", "PRI * HTTP/2.0\r\n\r\n", 505},
        {"HTTP/1.32", "GET / HTTP/1.32\r\nHost: a\r\n\r\n", 400},
        {"lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n", 400},
        {"trailing space", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
        {"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
        {"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
        {"Host with path", "GET / HTTP/1.1\r\nHost: a/b@c\r\n\r\n", 400},
        {"Host with query", "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", 400},
        {"Host with fragment", "GET / HTTP/1.1\r\nHost: a#b\r\n\r\n", 400},
        {"Host with space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
        {"Host with user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
        {"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
        {"Host with bad port", "GET / HTTP/1.1\r\nHost: a:8a\r\n\r\n", 400},
        {"target without slash", "GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"asterisk for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 405},
        {"absolute form of another host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"fragment in the target", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"0x80 in the target", "GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"plus in Content-Length", with("Content-Length: +5\r\n"), 400},
        {"minus in Content-Length", with("Content-Length: -5\r\n"), 400},
        {"hex Content-Length", with("Content-Length: 0x5\r\n"), 400},
        {"underscore in Content-Length", with("Content-Length: 5_0\r\n"), 400},
        {"empty Content-Length", with("Content-Length:\r\n"), 400},
        {"two numbers in Content-Length", with("Content-Length: 5 5\r\n"), 400},
        {"list in Content-Length", with("Content-Length: 5, 5\r\n"), 400},
        {"2^64+5", with("Content-Length: 18446744073709551621\r\n"), 400},
        {"40 digits", with("Content-Length: " + std::string(40, '1') + "\r\n"), 400},
        {"Content-Length twice, equal", with("Content-Length: 5\r\nContent-Length: 5\r\n"), 400},
        {"Content-Length twice", with("Content-Length: 5\r\nContent-Length: 6\r\n"), 400},
        {"CL then TE", with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400},
        {"TE then CL", with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400},
        {"empty TE and CL", with("Transfer-Encoding:\r\nContent-Length: 5\r\n"), 400},
        {"TE identity", with("Transfer-Encoding: identity\r\n"), 400},
        {"TE xchunked", with("Transfer-Encoding: xchunked\r\n"), 501},
        {"TE gzip", with("Transfer-Encoding: gzip\r\n"), 501},
        {"TE chunked, identity", with("Transfer-Encoding: chunked, identity\r\n"), 400},
        {"TE chunked, chunked", with("Transfer-Encoding: chunked, chunked\r\n"), 400},
        {"TE gzip, chunked", with("Transfer-Encoding: gzip, chunked\r\n"), 400},
        {"TE quoted", with("Transfer-Encoding: \"chunked\"\r\n"), 400},
        {"TE with vertical tab", with("Transfer-Encoding: \vchunked\r\n"), 400},
        {"TE twice", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
        {"TE in HTTP/1.0", "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"unknown expectation", with("Expect: tea\r\n"), 417},
        {"obfuscated expectation", with("Expect: y 100-continue\r\n"), 417},
        {"long target", "GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
        {"long target without end", "GET /" + std::string(9000, 'a'), 414},
        {"long field", with("X: " + std::string(65'536, 'a') + "\r\n"), 431},
        {"long head without end", "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(17'000, 'a'), 431},
    };
}

TEST(HttpHead, RefusesWhatIsAmbiguous) {
    for (auto const& row : refusals()) {
        RequestHead head;
        auto const result = parse(row.bytes, head);
        EXPECT_EQ(result.status, HeadStatus::kBad) << row.name;
        EXPECT_EQ(result.http_status, row.status) << row.name << ": " << result.reason;
        EXPECT_FALSE(result.reason.empty()) << row.name;
    }
}

TEST(HttpHead, RefusesTooManyFields) {
    std::string lines;
    for (int i = 0; i < 100; ++i)
        lines += "X: y\r\n";
    RequestHead head;
    EXPECT_EQ(parse(with(lines), head).http_status, 431);
}

// RFC 9110 §5.5, wherever in a value and whatever is around it.
TEST(HttpHead, RefusesControlCharactersInAValueWhereverTheyAre) {
    for (unsigned byte = 0; byte < 256; ++byte) {
        bool const allowed = byte == '\t' || (byte >= 0x20 && byte != 0x7f);
        for (std::size_t at = 0; at < 24; ++at) {
            for (char const around : {'x', '\xff', '~', ' '}) {
                std::string value = "b" + std::string(24, around) + "e";
                value[at + 1] = static_cast<char>(byte);
                RequestHead head;
                auto const status = parse(with("X: " + value + "\r\n"), head).status;
                ASSERT_EQ(status == HeadStatus::kDone, allowed) << byte << " at " << at << " between " << around;
            }
        }
    }
}

TEST(HttpHead, ReadsAnOrdinaryRequest) {
    auto const bytes = std::string(
        "POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: localhost:8000\r\nContent-Length: 12\r\n"
        "X-Empty:\r\nAUTHORIZATION:  Bearer k \r\nExpect: 100-Continue\r\n\r\nrest");
    RequestHead head;
    auto const result = parse(bytes, head);
    ASSERT_EQ(result.status, HeadStatus::kDone) << result.reason;
    EXPECT_EQ(bytes.substr(result.bytes), "rest");
    EXPECT_EQ(head.method, "POST");
    EXPECT_EQ(head.path, "/v1/chat/completions");
    EXPECT_EQ(head.query, "a=b");
    EXPECT_EQ(head.body, BodyKind::kLength);
    EXPECT_EQ(head.content_length, 12U);
    EXPECT_EQ(head.get("authorization"), "Bearer k");
    EXPECT_EQ(head.get("x-empty"), "");
    EXPECT_TRUE(head.expects_continue);
    EXPECT_TRUE(head.keep_alive);
}

TEST(HttpHead, AsksForMoreAtEverySplit) {
    auto const bytes = with("Content-Length: 3\r\n");
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
        RequestHead head;
        EXPECT_EQ(parse(bytes.substr(0, cut), head).status, HeadStatus::kNeedMore) << cut;
    }
    RequestHead head;
    EXPECT_EQ(parse(bytes, head).status, HeadStatus::kDone);
}

TEST(HttpHead, KnowsWhenTheConnectionStays) {
    struct Row {
        std::string bytes;
        bool stays;
    };
    for (auto const& row : std::vector<Row>{{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
                                            {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false},
                                            {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", false},
                                            {"GET / HTTP/1.0\r\n\r\n", false},
                                            {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true}}) {
        RequestHead head;
        ASSERT_EQ(parse(row.bytes, head).status, HeadStatus::kDone) << row.bytes;
        EXPECT_EQ(head.keep_alive, row.stays) << row.bytes;
    }
}

TEST(HttpHead, AcceptsOddButClearTargets) {
    RequestHead head;
    std::string const absolute = "\r\nGET http://a:80/b?c HTTP/1.1\r\nHost: a:80\r\n\r\n";
    ASSERT_EQ(parse(absolute, head).status, HeadStatus::kDone);
    EXPECT_EQ(head.path, "/b");
    std::string const asterisk = "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n";
    ASSERT_EQ(parse(asterisk, head).status, HeadStatus::kDone);
    EXPECT_EQ(head.target, "*");
}

TEST(HttpHead, ReadsAnswers) {
    ResponseHead head;
    auto const parse_answer = [&head](std::string const& bytes) { return parse_response_head(bytes, {}, false, head); };
    EXPECT_EQ(parse_answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").status, HeadStatus::kDone);
    EXPECT_EQ(head.body, BodyKind::kLength);
    EXPECT_TRUE(head.keep_alive);
    EXPECT_EQ(parse_answer("HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n").status,
              HeadStatus::kDone); // no reason phrase
    EXPECT_EQ(head.body, BodyKind::kChunked);
    EXPECT_EQ(parse_answer("HTTP/1.1 200 OK\r\n\r\n").status, HeadStatus::kDone);
    EXPECT_EQ(head.body, BodyKind::kUntilClose);
    EXPECT_FALSE(head.keep_alive);
    EXPECT_EQ(parse_answer("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n").status, HeadStatus::kDone);
    EXPECT_EQ(head.body, BodyKind::kNone);
    for (auto const* bytes :
         {"HTTP/1.1 099 X\r\n\r\n", "HTTP/2 200 OK\r\n\r\n", "<html>\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"}) {
        EXPECT_EQ(parse_answer(bytes).status, HeadStatus::kBad) << bytes;
    }
}

struct Chunks {
    std::string name;
    std::string bytes;
    bool good;
    std::string body = {};
};

TEST(ChunkedReader, ReadsAndRefuses) {
    auto const extension = std::string(2000, 'e');
    std::string many_trailers = "0\r\n";
    for (int i = 0; i < 40; ++i)
        many_trailers += "T: x\r\n";
    std::vector<Chunks> const rows{
        {"two chunks", "5\r\nhello\r\n3\r\nabc\r\n0\r\n\r\n", true, "helloabc"},
        {"hex and extension", "A;x=y\r\n0123456789\r\n0\r\n\r\n", true, "0123456789"},
        {"trailer is dropped", "1\r\na\r\n0\r\nAuthorization: x\r\n\r\n", true, "a"},
        {"0x", "0x5\r\nhello\r\n0\r\n\r\n", false},
        {"plus", "+5\r\nhello\r\n0\r\n\r\n", false},
        {"space before", " 5\r\nhello\r\n0\r\n\r\n", false},
        {"space behind", "5 \r\nhello\r\n0\r\n\r\n", false},
        {"empty size", "\r\nhello\r\n0\r\n\r\n", false},
        {"17 digits", "00000000000000005\r\nhello\r\n0\r\n\r\n", false},
        {"bare LF", "5\nhello\r\n0\r\n\r\n", false},
        {"bare LF in extension", "5;a\nb\r\nhello\r\n0\r\n\r\n", false},
        {"data too long", "3\r\nhello\r\n0\r\n\r\n", false},
        {"data too short", "6\r\nhello\r\n0\r\n\r\n", false},
        {"garbage behind the last chunk", "0\r\nXX", false},
        {"long extension", "5;" + extension + "\r\nhello\r\n0\r\n\r\n", false},
        {"64 KB trailer", "0\r\nX: " + std::string(65'536, 'a') + "\r\n\r\n", false},
        {"many trailers", many_trailers + "\r\n", false},
    };
    for (auto const& row : rows) {
        ChunkedReader reader;
        std::string_view rest = row.bytes;
        std::string_view data;
        std::string body;
        auto status = reader.next(rest, data);
        while (status == ChunkedReader::Status::kData) {
            body.append(data);
            status = reader.next(rest, data);
        }
        if (row.good) {
            EXPECT_EQ(status, ChunkedReader::Status::kDone) << row.name;
            EXPECT_EQ(body, row.body) << row.name;
        } else {
            EXPECT_NE(status, ChunkedReader::Status::kDone) << row.name;
        }
    }
}

} // namespace
} // namespace parley::net

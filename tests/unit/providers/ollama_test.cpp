// What the fixtures of tests/golden/ollama cannot say: ids that Ollama leaves out, bytes that are no text, limits.
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

#include <memory>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "providers/dialect.hpp"
#include "tests/unit/providers/event_json.hpp"

namespace parley::providers {

namespace {

struct Read {
    std::vector<boost::json::object> events;
    std::vector<core::Error> errors;
};

/// Decodes as a connection would feed it, in pieces of `step` bytes.
Read decode(std::string_view body, std::size_t step, bool streaming = true) {
    auto const dialect = make_ollama_dialect();
    auto const decoder = dialect->decoder(streaming);
    Read read;
    std::vector<chat::RunEvent> events;
    auto take = [&](core::Result<> const& result) {
        for (auto const& event : events)
            read.events.push_back(tests::event_to_json(event));
        events.clear();
        if (!result) read.errors.push_back(result.error());
        return result.has_value() && !decoder->done();
    };
    for (std::size_t at = 0; at < body.size(); at += step) {
        std::string const piece(body.substr(at, step));
        if (!take(decoder->feed(piece, events))) return read;
    }
    take(decoder->finish(events));
    return read;
}

std::string call_line(std::string_view calls) {
    return R"({"model":"m","message":{"role":"assistant","content":"","tool_calls":)" + std::string(calls) +
           R"(},"done":false})"
           "\n";
}

constexpr std::string_view kEnd =
    R"({"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","eval_count":1})"
    "\n";

std::string text_of(boost::json::object const& event, char const* outer, char const* member) {
    return event.at(outer).as_object().at(member).as_string().c_str();
}

// LiteLLM #35663, #35711, PR #37792, #21744: calls without ids, all with index 0, arguments as an object, finish
// "stop".
TEST(OllamaToolCalls, GetIdsAndIndexesOverSeveralChunks) {
    std::string const body =
        call_line(
            R"([{"function":{"name":"a","arguments":{"x":1}}},{"function":{"index":0,"name":"b","arguments":{}}}])") +
        call_line(R"([{"function":{"name":"a","arguments":{"x":1}}}])") + std::string(kEnd);
    for (std::size_t const step : {std::size_t{1}, std::size_t{7}, body.size()}) {
        Read const read = decode(body, step);
        ASSERT_TRUE(read.errors.empty());
        ASSERT_EQ(read.events.size(), 6u); // model, three calls, end, usage
        std::set<std::string> ids;
        std::string prefix;
        for (std::size_t i = 0; i < 3; ++i) {
            auto const& event = read.events[i + 1];
            EXPECT_EQ(event.at("tool_call").as_object().at("index").to_number<std::size_t>(), i);
            std::string const id = text_of(event, "tool_call", "id");
            EXPECT_TRUE(std::regex_match(id, std::regex("call_[0-9a-f]{16}_[0-9]+"))) << id;
            ids.insert(id);
            if (i == 0) prefix = id.substr(0, 21);
            EXPECT_EQ(id.substr(0, 21), prefix);
        }
        EXPECT_EQ(ids.size(), 3u);
        EXPECT_EQ(text_of(read.events[1], "tool_call", "arguments"), R"({"x":1})");
        EXPECT_EQ(read.events[4].at("end").as_string(), "tool_calls");
    }
}

TEST(OllamaToolCalls, OfTwoAnswersHaveDifferentIds) {
    std::string const body = call_line(R"([{"function":{"name":"a","arguments":{}}}])") + std::string(kEnd);
    Read const one = decode(body, body.size());
    Read const two = decode(body, body.size());
    EXPECT_NE(text_of(one.events.at(1), "tool_call", "id"), text_of(two.events.at(1), "tool_call", "id"));
}

TEST(OllamaToolCalls, ArgumentsMayComeAsTextToo) {
    std::string const body =
        call_line(R"([{"id":"i","function":{"name":"a","arguments":"{\"x\":1}"}}])") + std::string(kEnd);
    Read const read = decode(body, body.size());
    EXPECT_EQ(text_of(read.events.at(1), "tool_call", "arguments"), R"({"x":1})");
}

TEST(OllamaToolCalls, InTheLastLineCount) {
    std::string const body =
        R"({"message":{"content":"","tool_calls":[{"id":"i","function":{"name":"a","arguments":{}}}]},"done":true,"done_reason":"stop"})"
        "\n";
    Read const read = decode(body, body.size());
    ASSERT_EQ(read.events.size(), 3u);
    EXPECT_EQ(read.events[1].at("end").as_string(), "tool_calls");
}

TEST(OllamaDecoder, RepairsBytesThatAreNoUtf8) {
    std::string const body =
        "{\"model\":\"m\",\"message\":{\"content\":\"a\xFF\xC3(\"},\"done\":false}\n" + std::string(kEnd);
    for (std::size_t const step : {std::size_t{1}, body.size()}) {
        Read const read = decode(body, step);
        ASSERT_TRUE(read.errors.empty());
        EXPECT_EQ(read.events.at(1).at("text").as_string(), "a\xEF\xBF\xBD\xEF\xBF\xBD(");
    }
}

TEST(OllamaDecoder, RefusesALineThatNeverEnds) {
    auto const decoder = make_ollama_dialect()->decoder(true);
    std::vector<chat::RunEvent> events;
    std::string const piece = "{\"a\":\"" + std::string(1024 * 1024, 'x');
    core::Result<> fed;
    int pieces = 0;
    while (fed && pieces < 20) {
        fed = decoder->feed(piece, events);
        ++pieces;
    }
    ASSERT_FALSE(fed);
    EXPECT_EQ(fed.error().code, core::Errc::kUpstreamInvalid);
    EXPECT_LE(pieces, 9);
}

TEST(OllamaDecoder, SaysTruncatedForAWholeAnswerThatIsNotDone) {
    Read const read = decode(R"({"model":"m","message":{"content":"a"},"done":false})", 5, false);
    ASSERT_EQ(read.errors.size(), 1u);
    EXPECT_EQ(read.errors[0].code, core::Errc::kUpstreamTruncated);
}

TEST(OllamaDecoder, ReadsAnErrorInAWholeAnswer) {
    Read const read = decode(R"({"error":"boom"})", 5, false);
    ASSERT_EQ(read.errors.size(), 1u);
    EXPECT_EQ(read.errors[0].code, core::Errc::kUpstreamFailed);
    EXPECT_NE(read.errors[0].message.find("boom"), std::string::npos);
}

TEST(OllamaDecoder, NegativeAndHugeCountsDoNoHarm) {
    Read const read = decode(R"({"done":true,"prompt_eval_count":-5,"eval_count":99999999999999999999999})"
                             "\n",
                             1000);
    ASSERT_TRUE(read.errors.empty());
    EXPECT_EQ(boost::json::serialize(read.events.at(1)), R"({"usage":{}})");
}

TEST(OllamaDialect, EmbedsByTheCompatibleRoute) {
    auto const dialect = make_ollama_dialect();
    EncodedRequest const request = dialect->encode_embeddings("nomic \"x\"", R"("input":["a"])");
    EXPECT_EQ(request.path, "/v1/embeddings");
    EXPECT_EQ(boost::json::parse(request.body), boost::json::parse(R"({"model":"nomic \"x\"","input":["a"]})"));
    EXPECT_EQ(boost::json::parse(dialect->encode_embeddings("m", "").body), boost::json::parse(R"({"model":"m"})"));
}

TEST(OllamaDialect, CopiesPlainMessagesByteForByte) {
    auto const dialect = make_ollama_dialect();
    ModelSpec spec;
    spec.model = "m";
    auto const model = dialect->prepare(spec);
    std::string const json = R"({ "role" : "user",  "content":"a\u00fc\/b" })";
    chat::Message message;
    message.json = json;
    message.content = R"("a\u00fc\/b")";
    message.role_json = R"("user")";
    message.plain = true;
    chat::Turn turn;
    turn.messages = {&message, 1};
    auto const request = dialect->encode(*model, turn);
    ASSERT_TRUE(request);
    EXPECT_NE(request->body.find(json), std::string::npos) << request->body;
}

} // namespace

} // namespace parley::providers

// What the fixtures of tests/golden/azure_openai cannot say: bytes that are no text, limits, repetition, embeddings.
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "providers/dialect.hpp"
#include "tests/unit/providers/event_json.hpp"

namespace parley::providers {

namespace {

struct Read {
    boost::json::array events;
    std::vector<core::Error> errors;
};

/// Decodes in pieces of `step` bytes.
Read decode(std::string_view body, std::size_t step) {
    auto const dialect = make_azure_responses_dialect("", true);
    auto const decoder = dialect->decoder(true);
    Read read;
    std::vector<chat::RunEvent> events;
    auto take = [&](core::Result<> const& result) {
        tests::append_events(read.events, events);
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

std::string text_delta(std::string_view text, int output_index = 0) {
    return fmt::format(
        "data: {{\"type\":\"response.output_text.delta\",\"output_index\":{},\"content_index\":0,"
        "\"delta\":\"{}\"}}\n\n",
        output_index, text);
}

std::string completed() {
    return "data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[]}}\n\n";
}

TEST(ResponsesDecoder, RepairsBytesThatAreNoUtf8) {
    std::string const body = text_delta("a\xFF\xC3(") + completed();
    for (std::size_t const step : {std::size_t{1}, body.size()}) {
        Read const read = decode(body, step);
        ASSERT_TRUE(read.errors.empty());
        EXPECT_EQ(read.events.at(0).at("text").as_string(), "a\xEF\xBF\xBD\xEF\xBF\xBD(");
    }
}

std::string encoded(chat::Turn const& turn, std::string const& model) {
    auto const dialect = make_azure_responses_dialect("", true);
    ModelSpec spec;
    spec.model = model;
    auto const prepared = dialect->prepare(spec);
    auto const request = dialect->encode(*prepared, turn);
    EXPECT_TRUE(request.has_value());
    return request ? request->body : std::string();
}

TEST(ResponsesReasoning, IsAskedForAndSaidWhereItIsToBeSentBack) {
    chat::Turn turn;
    EXPECT_EQ(encoded(turn, "gpt-5").find("encrypted_content"), std::string::npos);
    turn.keep_reasoning = true;
    EXPECT_NE(encoded(turn, "gpt-5").find(R"("include":["reasoning.encrypted_content"])"), std::string::npos);
    EXPECT_EQ(encoded(turn, "gpt-4o").find("encrypted_content"), std::string::npos); // would refuse it
    EXPECT_EQ(encoded(turn, "gpt-5-chat").find("encrypted_content"), std::string::npos);

    std::string const item = R"({"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"abc","status":null})";
    std::string const body =
        R"(data: {"type":"response.output_item.done","output_index":0,"item":)" + item + "}\n\n" + completed();
    auto const read = decode(body, body.size());
    ASSERT_TRUE(read.errors.empty());
    EXPECT_NE(boost::json::serialize(read.events).find("rs_1"), std::string::npos);
}

TEST(ResponsesReasoning, GoesBackBeforeTheCallsThatCameOfIt) {
    chat::Message message;
    message.role = chat::Role::kAssistant;
    message.json =
        R"({"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}],"reasoning_items":[{"type":"reasoning","id":"rs_1","encrypted_content":"abc"},{"type":"message"}]})";
    chat::Turn turn;
    turn.messages = {&message, 1};
    auto const body = encoded(turn, "gpt-5");
    EXPECT_NE(
        body.find(
            R"("input":[{"type":"reasoning","id":"rs_1","encrypted_content":"abc"},{"type":"function_call","call_id":"c")"),
        std::string::npos)
        << body;
}

TEST(ResponsesDecoder, ReadsDataOverSeveralLinesAndCarriageReturns) {
    std::string const body =
        "data: {\"type\":\"response.output_text.delta\",\rdata: \"output_index\":0,\"delta\":\"x\"}\r\r" + completed();
    for (std::size_t const step : {std::size_t{1}, std::size_t{3}, body.size()}) {
        Read const read = decode(body, step);
        ASSERT_TRUE(read.errors.empty()) << read.errors[0].message;
        EXPECT_EQ(read.events.at(0).at("text").as_string(), "x");
    }
}

TEST(ResponsesDecoder, SurvivesManyOutputItemsUpToALimit) {
    std::string body;
    for (int i = 0; i < 1024; ++i)
        body += text_delta("x", i);
    EXPECT_TRUE(decode(body + completed(), 4096).errors.empty());
    Read const read = decode(body + text_delta("x", 1024) + completed(), 4096);
    ASSERT_EQ(read.errors.size(), 1u);
    EXPECT_EQ(read.errors[0].code, core::Errc::kUpstreamInvalid);
}

TEST(ResponsesDecoder, TakesAnEndWithoutUsage) {
    Read const read = decode(text_delta("x") + completed(), 5);
    EXPECT_EQ(boost::json::serialize(read.events), R"([{"text":"x"},{"end":"stop"}])");
}

TEST(ResponsesDecoder, RefusesAResponseThatIsStillUnderWay) {
    Read const read = decode(R"({"status":"in_progress","output":[]})", 7);
    ASSERT_EQ(read.errors.size(), 1u);
    EXPECT_EQ(read.errors[0].code, core::Errc::kUpstreamInvalid);
}

TEST(ResponsesDecoder, IsDoneOnlyAtTheEnd) {
    auto const decoder = make_azure_responses_dialect("", true)->decoder(true);
    std::vector<chat::RunEvent> events;
    std::string const delta = text_delta("x");
    std::string const end = completed();
    ASSERT_TRUE(decoder->feed(delta, events));
    EXPECT_FALSE(decoder->done());
    ASSERT_TRUE(decoder->feed(end, events));
    EXPECT_TRUE(decoder->done());
    auto const count = events.size();
    ASSERT_TRUE(decoder->feed(delta, events));
    ASSERT_TRUE(decoder->finish(events));
    EXPECT_EQ(events.size(), count);
}

TEST(AzureResponsesDialect, EmbedsByDeployment) {
    auto const classic = make_azure_responses_dialect("2024-10-21", false);
    EncodedRequest const request = classic->encode_embeddings("my emb/1", R"("input":"a")");
    EXPECT_EQ(request.path, "/openai/deployments/my%20emb%2F1/embeddings?api-version=2024-10-21");
    EXPECT_EQ(boost::json::parse(request.body), boost::json::parse(R"({"model":"my emb/1","input":"a"})"));
    EXPECT_EQ(make_azure_responses_dialect("", true)->encode_embeddings("e", "").path, "/openai/v1/embeddings");
}

TEST(AzureResponsesDialect, ABadAgentToolShowsInTheRequestNotAtTheStart) {
    auto const dialect = make_azure_responses_dialect("", true);
    ModelSpec spec;
    spec.model = "m";
    spec.tools = R"([{"type":"web_search"}])";
    auto const model = dialect->prepare(spec);
    auto const request = dialect->encode(*model, {});
    ASSERT_FALSE(request);
    EXPECT_EQ(request.error().code, core::Errc::kUnsupportedValue);
    EXPECT_EQ(request.error().param, "tools[0].type");
}

} // namespace

} // namespace parley::providers

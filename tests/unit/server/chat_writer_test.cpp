// The bytes of chat completions answers, seen as a client sees them: lines, chunks, and the object.
#include "server/chat_writer.hpp"

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "core/result.hpp"

namespace parley::server {
namespace {

namespace js = boost::json;
using namespace chat;
using Events = std::vector<RunEvent>;

ChatReplyHead head(bool include_usage = false, int choices = 1) {
    return {"chatcmpl-1", 1700000000, "team/helper \"x\"", include_usage, choices};
}

struct Stream {
    std::vector<js::object> chunks;
    bool done = false;
};

// Reads a stream as strict clients do: `data:` lines and empty ones, nothing else.
Stream read(std::string const& bytes) {
    Stream stream;
    std::size_t at = 0;
    while (at < bytes.size()) {
        auto const end = bytes.find("\n\n", at);
        EXPECT_NE(end, std::string::npos) << "unfinished line";
        if (end == std::string::npos) break;
        auto const line = bytes.substr(at, end - at);
        at = end + 2;
        EXPECT_TRUE(line.starts_with("data: ")) << line;
        EXPECT_EQ(line.find('\n'), std::string::npos);
        EXPECT_FALSE(stream.done) << "nothing may follow [DONE]";
        if (line == "data: [DONE]") {
            stream.done = true;
            continue;
        }
        auto const json = line.substr(6);
        EXPECT_TRUE(core::check_json(json, 64)) << json.substr(0, 200);
        stream.chunks.push_back(js::parse(json).as_object());
    }
    return stream;
}

std::string write_all(ChatStreamWriter& writer, Events const& events) {
    std::string out;
    writer.write(events, out);
    writer.finish(out);
    return out;
}

js::object const& delta_of(js::object const& chunk) {
    return chunk.at("choices").at(0).at("delta").as_object();
}

std::string joined(Stream const& stream, std::string_view field, int choice = 0) {
    std::string text;
    for (auto const& chunk : stream.chunks) {
        for (auto const& each : chunk.at("choices").as_array()) {
            if (each.at("index") != choice) continue;
            if (auto const* value = each.at("delta").as_object().if_contains(field)) text += value->as_string();
        }
    }
    return text;
}

TEST(ChatStream, ExactBytesOfAShortAnswer) {
    ChatStreamWriter writer({"c1", 7, "m", false, 1});
    std::string out;
    writer.write(Events{TextDelta{"Hi\\n"}, ChoiceEnd{}}, out);
    writer.finish(out);
    std::string const begin = R"(data: {"id":"c1","object":"chat.completion.chunk","created":7,"model":"m","choices":)";
    EXPECT_EQ(out, begin +
                       R"([{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]})"
                       "\n\n" +
                       begin +
                       R"([{"index":0,"delta":{"content":"Hi\n"},"finish_reason":null}]})"
                       "\n\n" +
                       begin +
                       R"([{"index":0,"delta":{},"finish_reason":"stop"}]})"
                       "\n\ndata: [DONE]\n\n");
}

TEST(ChatStream, OneHeadOneRoleOneFinish) {
    ChatStreamWriter writer(head());
    auto const stream = read(write_all(writer, {TextDelta{"a"}, ChoiceEnd{FinishReason::kLength}, TextDelta{"b"},
                                                ChoiceEnd{FinishReason::kContentFilter}}));
    ASSERT_TRUE(stream.done);
    ASSERT_EQ(stream.chunks.size(), 4U);
    int finishes = 0;
    int roles = 0;
    for (auto const& chunk : stream.chunks) {
        EXPECT_EQ(chunk.at("id"), "chatcmpl-1");
        EXPECT_EQ(chunk.at("created"), 1700000000);
        EXPECT_EQ(chunk.at("model"), "team/helper \"x\"");
        EXPECT_EQ(chunk.at("object"), "chat.completion.chunk");
        EXPECT_FALSE(chunk.contains("usage"));
        finishes += chunk.at("choices").at(0).at("finish_reason").is_string() ? 1 : 0;
        roles += delta_of(chunk).contains("role") ? 1 : 0;
    }
    EXPECT_EQ(finishes, 1) << "held back until the run is over";
    EXPECT_EQ(roles, 1);
    EXPECT_EQ(delta_of(stream.chunks.front()).at("role"), "assistant");
    EXPECT_EQ(stream.chunks.back().at("choices").at(0).at("finish_reason"), "content_filter") << "the last one";
    EXPECT_TRUE(delta_of(stream.chunks.back()).empty());
    EXPECT_EQ(joined(stream, "content"), "ab");
}

TEST(ChatStream, AnEmptyAnswerIsStillAWholeStream) {
    ChatStreamWriter writer(head(false, 2));
    auto const stream = read(write_all(writer, {}));
    ASSERT_EQ(stream.chunks.size(), 4U);
    EXPECT_TRUE(stream.done);
    for (std::size_t i = 0; i < 4; ++i)
        EXPECT_EQ(stream.chunks[i].at("choices").at(0).at("index"), i % 2);
}

TEST(ChatStream, StartOpensOnce) {
    ChatStreamWriter writer(head());
    std::string out;
    writer.start(out);
    EXPECT_EQ(read(out).chunks.size(), 1U);
    auto const size = out.size();
    writer.start(out);
    EXPECT_EQ(out.size(), size);
    writer.write(Events{TextDelta{"x"}}, out);
    EXPECT_EQ(read(out).chunks.size(), 2U);
}

TEST(ChatStream, UsageOnlyWhenAskedFor) {
    Usage usage;
    usage.prompt_tokens = 10;
    usage.completion_tokens = 5;
    usage.cached_tokens = 4;
    usage.reasoning_tokens = 3;
    usage.cost_usd = 0.00125;
    ChatStreamWriter with(head(true));
    auto const stream = read(write_all(with, {TextDelta{"a"}, UsageReport{usage}, ChoiceEnd{}}));
    ASSERT_EQ(stream.chunks.size(), 4U);
    for (std::size_t i = 0; i < 3; ++i)
        EXPECT_TRUE(stream.chunks[i].at("usage").is_null()) << i;
    auto const& last = stream.chunks.back();
    EXPECT_TRUE(last.at("choices").as_array().empty());
    EXPECT_EQ(last.at("usage"), js::parse(R"({"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,
        "prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":0},
        "completion_tokens_details":{"reasoning_tokens":3},"cost":0.00125})"));

    ChatStreamWriter without(head(false));
    for (auto const& chunk : read(write_all(without, {TextDelta{"a"}, UsageReport{usage}})).chunks) {
        EXPECT_FALSE(chunk.contains("usage"));
    }
    ChatStreamWriter unknown(head(true));
    EXPECT_EQ(read(write_all(unknown, {TextDelta{"a"}})).chunks.size(), 3U) << "no invented zeros";
}

TEST(ChatStream, ReasoningInBothSpellings) {
    ChatStreamWriter writer(head());
    auto const stream = read(write_all(writer, {ReasoningDelta{"think \\u00e9"}, TextDelta{"say"}}));
    EXPECT_EQ(joined(stream, "reasoning_content"), "think \xC3\xA9");
    EXPECT_EQ(joined(stream, "reasoning"), "think \xC3\xA9");
    EXPECT_EQ(joined(stream, "content"), "say");
}

TEST(ChatStream, ToolCallFragments) {
    ChatStreamWriter writer(head());
    auto const stream =
        read(write_all(writer, {ToolCallDelta{0, "call_a", "read_file", ""}, ToolCallDelta{0, {}, {}, R"({\"p)"},
                                ToolCallDelta{0, {}, {}, R"(ath\":1})"}, ToolCallDelta{0, {}, {}, ""},
                                ToolCallDelta{1, "call_b", "list", "{}"}, ChoiceEnd{FinishReason::kToolCalls}}));
    std::vector<js::value> calls;
    for (auto const& chunk : stream.chunks) {
        if (auto const* list = delta_of(chunk).if_contains("tool_calls")) calls.push_back(list->at(0));
    }
    ASSERT_EQ(calls.size(), 4U) << "a piece without content is not sent";
    EXPECT_EQ(calls[0], js::parse(R"({"index":0,"id":"call_a","type":"function",
                                      "function":{"name":"read_file","arguments":""}})"));
    EXPECT_EQ(calls[1], js::parse(R"({"index":0,"function":{"arguments":"{\"p"}})"));
    EXPECT_EQ(calls[2], js::parse(R"({"index":0,"function":{"arguments":"ath\":1}"}})"));
    EXPECT_EQ(calls[3], js::parse(R"({"index":1,"id":"call_b","type":"function",
                                      "function":{"name":"list","arguments":"{}"}})"));
    EXPECT_EQ(stream.chunks.back().at("choices").at(0).at("finish_reason"), "tool_calls");
}

TEST(ChatStream, OtherMembersOfADelta) {
    ChatStreamWriter writer(head());
    auto const stream =
        read(write_all(writer, {DeltaField{"annotations", "[{\"a\":1,\r\n \"b\":2}]"}, DeltaField{"role", "\"user\""},
                                DeltaField{"content", "\"x\""}, RefusalDelta{"no"}}));
    ASSERT_EQ(stream.chunks.size(), 4U) << "a field that we print ourselves would be the same key twice";
    EXPECT_EQ(delta_of(stream.chunks[1]).at("annotations"), js::parse(R"([{"a":1,"b":2}])"));
    EXPECT_EQ(joined(stream, "refusal"), "no");
}

TEST(ChatStream, LogprobsStandBesideTheDelta) {
    ChatStreamWriter writer(head());
    auto const stream = read(write_all(writer, {TextDelta{"a", "{\"content\":[],\n\"refusal\":null}"}, TextDelta{"b"},
                                                TextDelta{"", R"({"content":[1]})"}}));
    EXPECT_EQ(stream.chunks[1].at("choices").at(0).at("logprobs"), js::parse(R"({"content":[],"refusal":null})"));
    EXPECT_FALSE(stream.chunks[2].at("choices").at(0).as_object().contains("logprobs"));
    EXPECT_EQ(stream.chunks[3].at("choices").at(0).at("logprobs"), js::parse(R"({"content":[1]})"));
}

TEST(ChatStream, ChoicesAreKeptApart) {
    ChatStreamWriter writer(head(false, 2));
    auto const stream = read(
        write_all(writer, {TextDelta{"a", {}, 1}, TextDelta{"b", {}, 0}, TextDelta{"c", {}, 1}, TextDelta{"d", {}, -1},
                           TextDelta{"d", {}, 1000}, ChoiceEnd{FinishReason::kLength, 1}}));
    EXPECT_EQ(joined(stream, "content", 0), "b");
    EXPECT_EQ(joined(stream, "content", 1), "ac");
    ASSERT_EQ(stream.chunks.size(), 7U);
    EXPECT_EQ(stream.chunks[5].at("choices").at(0).at("finish_reason"), "stop");
    EXPECT_EQ(stream.chunks[6].at("choices").at(0).at("finish_reason"), "length");
}

TEST(ChatStream, SaysWhatTheProviderStatedAboutTheModel) {
    ChatStreamWriter writer(head(true));
    auto const stream = read(write_all(writer, {ModelReport{"gpt-x", "fp_1", "flex"}, TextDelta{"a"}}));
    for (auto const& chunk : stream.chunks) {
        EXPECT_EQ(chunk.at("model"), "team/helper \"x\"") << "the name that the client used";
        EXPECT_EQ(chunk.at("system_fingerprint"), "fp_1");
        EXPECT_EQ(chunk.at("service_tier"), "flex");
    }
}

TEST(ChatStream, AnErrorIsTheLastLine) {
    ChatStreamWriter writer(head());
    std::string out;
    writer.write(Events{TextDelta{"half"}}, out);
    writer.fail(core::make_error(core::Errc::kUpstreamTruncated, "The answer stopped.\n"), out);
    auto const stream = read(out);
    EXPECT_FALSE(stream.done);
    ASSERT_EQ(stream.chunks.size(), 3U);
    EXPECT_EQ(stream.chunks.back(), js::parse(R"({"error":{"message":"The answer stopped.\n","type":"server_error",
                                                 "param":null,"code":"upstream_truncated"}})"));
}

// Rows U13 and U14: no line longer than 64 KiB, and no cut inside an escape, a pair or a character.
TEST(ChatStream, LongTextIsSplitWhereItMayBe) {
    for (std::string_view const unit : {"x", "\xF0\x9F\x98\x80", "\\n", "\\u00e9", "\\ud83d\\ude00", "\\\\", "\xC3\xA9",
                                        "\\uD83D\\uDE00", "\\u0041\\\\u"}) {
        for (std::size_t shift = 0; shift < 13; ++shift) {
            std::string body(shift, 'a');
            while (body.size() < 150'000)
                body += unit;
            auto const text = core::json_body_to_text(body);
            for (int kind = 0; kind < 4; ++kind) {
                ChatStreamWriter writer(head(true));
                Events const events = {kind == 0   ? RunEvent{TextDelta{body, "{}"}}
                                       : kind == 1 ? RunEvent{ReasoningDelta{body}}
                                       : kind == 2 ? RunEvent{ToolCallDelta{0, "id", "name", body}}
                                                   : RunEvent{RefusalDelta{body}}};
                auto const out = write_all(writer, events);
                for (std::size_t at = 0, end = 0; (end = out.find('\n', at)) != out.npos; at = end + 1) {
                    ASSERT_LE(end - at, 64U * 1024) << unit;
                }
                std::string read_back;
                auto const stream = read(out);
                for (auto const& chunk : stream.chunks) {
                    if (kind != 2 || chunk.at("choices").as_array().empty()) continue;
                    if (auto const* calls = delta_of(chunk).if_contains("tool_calls")) {
                        read_back += calls->at(0).at("function").at("arguments").as_string();
                    }
                }
                if (kind != 2) read_back = joined(stream, kind == 0 ? "content" : kind == 1 ? "reasoning" : "refusal");
                ASSERT_TRUE(read_back == text) << unit << ' ' << shift << ' ' << kind;
            }
        }
    }
}

js::object whole(Events const& events, ChatReplyHead const& reply = head()) {
    ChatJsonWriter writer(reply);
    for (auto const& event : events)
        writer.write({&event, 1}); // batches do not matter
    std::string out;
    writer.finish(out);
    EXPECT_TRUE(core::check_json(out, 64)) << out;
    return js::parse(out).as_object();
}

TEST(ChatJson, ExactObjectOfAShortAnswer) {
    Usage usage;
    usage.prompt_tokens = 2;
    usage.completion_tokens = 1;
    EXPECT_EQ(whole({TextDelta{"Hel"}, TextDelta{"lo\\n"}, ChoiceEnd{}, UsageReport{usage}}), js::parse(R"({
        "id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"team/helper \"x\"",
        "choices":[{"index":0,"message":{"role":"assistant","content":"Hello\n","refusal":null},
                    "logprobs":null,"finish_reason":"stop"}],
        "usage":{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3,
                 "prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},
                 "completion_tokens_details":{"reasoning_tokens":0}}})"));
}

TEST(ChatJson, ContentIsNullWhenThereAreOnlyToolCalls) {
    auto const object =
        whole({ToolCallDelta{0, "a", "f", ""}, ToolCallDelta{0, {}, {}, R"({\"x\")"}, ToolCallDelta{1, "b", "g", "{}"},
               ToolCallDelta{0, {}, {}, ":1}"}, ToolCallDelta{7, "z", "h", "{}"}, ChoiceEnd{FinishReason::kToolCalls}});
    auto const& choice = object.at("choices").at(0);
    EXPECT_EQ(choice.at("finish_reason"), "tool_calls");
    EXPECT_EQ(choice.at("message"), js::parse(R"({"role":"assistant","content":null,"refusal":null,"tool_calls":[
        {"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},
        {"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]})"));
    EXPECT_FALSE(object.contains("usage")) << "unknown is not zero";
}

TEST(ChatJson, ReasoningRefusalAndFields) {
    auto const object = whole({ReasoningDelta{"why"}, RefusalDelta{"I "}, RefusalDelta{"won't"},
                               DeltaField{"annotations", "[{\"u\":1}]"}, DeltaField{"annotations", "[ ]"},
                               DeltaField{"annotations", "[{\"u\":2}]"}, DeltaField{"audio", "{\"id\":1}"},
                               DeltaField{"audio", "{\"id\":2}"}, DeltaField{"content", "\"smuggled\""},
                               ModelReport{"gpt", "fp", "default"}});
    EXPECT_EQ(object.at("choices").at(0).at("message"), js::parse(R"({"role":"assistant","content":null,
        "refusal":"I won't","reasoning_content":"why","reasoning":"why","annotations":[{"u":1},{"u":2}],
        "audio":{"id":2}})"));
    EXPECT_EQ(object.at("system_fingerprint"), "fp");
    EXPECT_EQ(object.at("service_tier"), "default");
    EXPECT_EQ(object.at("model"), "team/helper \"x\"");
}

TEST(ChatJson, AnEmptyAnswerHasEmptyContent) {
    auto const object = whole({});
    EXPECT_EQ(object.at("choices").at(0).at("message").at("content"), "");
    EXPECT_EQ(object.at("choices").at(0).at("finish_reason"), "stop");
}

TEST(ChatJson, EveryChoiceInOrder) {
    auto const object = whole({TextDelta{"b", {}, 2}, TextDelta{"a", {}, 0}, ChoiceEnd{FinishReason::kLength, 2},
                               TextDelta{"x", {}, 500}, TextDelta{"x", {}, -1}},
                              head(false, 3));
    auto const& choices = object.at("choices").as_array();
    ASSERT_EQ(choices.size(), 3U);
    EXPECT_EQ(choices[0].at("message").at("content"), "a");
    EXPECT_EQ(choices[1].at("message").at("content"), "");
    EXPECT_EQ(choices[2].at("message").at("content"), "b");
    EXPECT_EQ(choices[2].at("finish_reason"), "length");
    EXPECT_EQ(choices[2].at("index"), 2);
}

TEST(ChatJson, LogprobsOfAllPieces) {
    auto one = whole({TextDelta{"a", R"({"content":[{"token":"a"}],"refusal":null,"more":1})"}});
    EXPECT_EQ(one.at("choices").at(0).at("logprobs"),
              js::parse(R"({"content":[{"token":"a"}],"refusal":null,"more":1})"));
    auto many = whole({TextDelta{"a", R"({"content":[{"token":"a"}] ,"refusal":null})"}, TextDelta{"-", "null"},
                       TextDelta{"b", R"({"refusal":null,"content":[{"token":"b]"},{"token":"c"}]})"},
                       TextDelta{"c", R"({"content":[]})"}});
    EXPECT_EQ(many.at("choices").at(0).at("logprobs"),
              js::parse(R"({"content":[{"token":"a"},{"token":"b]"},{"token":"c"}],"refusal":null})"));
}

} // namespace
} // namespace parley::server

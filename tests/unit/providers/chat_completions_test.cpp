// The chat-completions family where a fixture does not reach: bytes that must pass untouched, limits, embeddings.
// Everything else is in tests/golden/.
#include "providers/chat_completions.hpp"

#include <boost/json/parse.hpp>
#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "net/sse.hpp"

namespace parley::providers {
namespace {

using core::Errc;

struct Fed {
    std::vector<chat::RunEvent> events;
    core::Result<> result;
};

Fed feed(Decoder& decoder, std::string_view bytes) {
    Fed fed;
    fed.result = decoder.feed(bytes, fed.events);
    return fed;
}

std::string sse(std::string_view json) {
    return "data: " + std::string(json) + "\n\n";
}

std::string text_chunk(std::string_view body) {
    return sse(R"({"id":"x","model":"m","choices":[{"index":0,"delta":{"content":")" + std::string(body) + R"("}}]})");
}

TEST(ChatEncoder, PassesTheClientsBytesThrough) {
    auto const dialect = make_openai_dialect(false);
    auto const model = dialect->prepare({"m", "", {}, ""});
    std::string const first = R"({ "role" : "user" , "content" : "\u00e9\ud83d\ude00 \/" , "x" : 1.0 })";
    std::string const second = R"({"content":"D","role": "developer" ,"n":1e2})";
    std::vector<chat::Message> const messages{{chat::Role::kUser, first, std::string_view(first).substr(33, 24),
                                               std::string_view(first).substr(11, 6), false},
                                              {chat::Role::kDeveloper, second, std::string_view(second).substr(11, 3),
                                               std::string_view(second).substr(23, 11), true}};
    std::vector<chat::Setting> const settings{{"seed", "12345678901234567890"}, {"temperature", "1.0"}};
    chat::Turn turn{messages, settings};
    auto const sent = dialect->encode(*model, turn);
    ASSERT_TRUE(sent);
    EXPECT_EQ(sent->body, R"({"model":"m","messages":[)" + first + R"(,{"content":"D","role": "system" ,"n":1e2}],)" +
                              R"("seed":12345678901234567890,"temperature":1.0,"stream":false})");
}

// A history in one text, as a client sends it; `spoilt` is not sent as it came.
struct LongHistory {
    explicit LongHistory(std::size_t count, std::size_t spoilt) {
        std::vector<std::pair<std::size_t, std::size_t>> places;
        text = "[";
        for (std::size_t i = 0; i < count; ++i) {
            if (i > 0) text += i % 2 == 0 ? " ,\n" : ",";
            auto const begin = text.size();
            text += std::string(R"({"role":")") + (i == spoilt ? "developer" : "user") + R"(","content":")" +
                    std::string(1000, static_cast<char>('a' + i % 26)) + "\"}";
            places.emplace_back(begin, text.size());
        }
        text += "]";
        for (std::size_t i = 0; i < count; ++i) {
            auto const [begin, end] = places[i];
            auto const json = std::string_view(text).substr(begin, end - begin);
            auto const role = json.substr(8, json.find('"', 9) - 7);
            messages.push_back({i == spoilt ? chat::Role::kDeveloper : chat::Role::kUser, json,
                                json.substr(json.find("\"content\":") + 10, 1002), role, true,
                                i == 0 ? nullptr : text.data() + places[i - 1].second});
        }
    }
    LongHistory(LongHistory const&) = delete;
    LongHistory& operator=(LongHistory const&) = delete;

    std::string expected() const { // copied message by message
        std::string all = R"({"model":"m","messages":[{"role":"system","content":"S"})";
        for (auto const& message : messages) {
            auto json = std::string(message.json);
            auto const at = json.find("developer");
            if (at != json.npos) json.replace(at, 9, "system");
            all += "," + json;
        }
        return all + R"(],"stream":false})";
    }

    std::string text;
    std::vector<chat::Message> messages;
};

TEST(ChatEncoder, ALongHistoryIsNotCopied) {
    auto const dialect = make_openai_dialect(false);
    auto const model = dialect->prepare({"m", "S", {}, ""});
    for (std::size_t const spoilt : {0U, 10U, 39U, 99U}) {
        LongHistory const history(40, spoilt);
        auto const sent = dialect->encode(*model, {history.messages, {}});
        ASSERT_TRUE(sent);
        EXPECT_EQ(boost::json::parse(sent->text()), boost::json::parse(history.expected())) << spoilt;
        auto const run = spoilt == 10 ? 29U : spoilt == 99 ? 40U : 39U;
        EXPECT_GT(sent->slice.size(), run * 1000) << spoilt;
        EXPECT_LT(sent->slice.size(), (run + 2) * 1000) << spoilt;
        EXPECT_GE(sent->slice.data(), history.text.data());
    }
}

TEST(ChatEncoder, OnlyWhatStandsTogetherIsSentTogether) {
    auto const dialect = make_openai_dialect(false);
    auto const model = dialect->prepare({"m", "S", {}, ""});
    LongHistory history(40, 99);
    history.messages.erase(history.messages.begin() + 20); // somebody has left it out
    auto const sent = dialect->encode(*model, {history.messages, {}});
    ASSERT_TRUE(sent);
    EXPECT_EQ(boost::json::parse(sent->text()), boost::json::parse(history.expected()));
    LongHistory const brief(3, 99);
    EXPECT_EQ(dialect->encode(*model, {brief.messages, {}})->slice, "") << "copying is cheaper";
}

TEST(ChatEncoder, JoinsToolListsWithAnySpacing) {
    auto const dialect = make_openrouter_dialect();
    auto const model = dialect->prepare({"m", "", {}, " [ {\"a\":1} ] "});
    chat::Turn turn;
    turn.tools = "\n[\t]\n";
    EXPECT_EQ(dialect->encode(*model, turn)->body, R"({"model":"m","messages":[],"tools":[{"a":1}],"stream":false})");
    turn.tools = "[ {\"b\":2} , {\"c\":3} ]";
    EXPECT_EQ(dialect->encode(*model, turn)->body,
              R"({"model":"m","messages":[],"tools":[{"a":1},{"b":2} , {"c":3}],"stream":false})");
}

TEST(ChatEncoder, OneModelServesManyTurns) {
    auto const dialect = make_azure_chat_dialect("2024-10-21", false);
    auto const model = dialect->prepare({"d", "S", {{"max_tokens", 5}}, ""});
    std::vector<chat::Setting> const settings{{"max_completion_tokens", "9"}};
    chat::Turn const plain;
    chat::Turn const own{{}, settings};
    auto const before = dialect->encode(*model, plain)->body;
    EXPECT_NE(before.find(R"("max_completion_tokens":5)"), std::string::npos);
    EXPECT_NE(dialect->encode(*model, own)->body.find(R"("max_completion_tokens":9)"), std::string::npos);
    EXPECT_EQ(dialect->encode(*model, plain)->body, before);
}

TEST(Embeddings, ModelFirstThenTheRequestsMembers) {
    auto const openai =
        make_openai_dialect(true)->encode_embeddings("e\"3", R"("input":["a"],"encoding_format":"base64")");
    EXPECT_EQ(openai.path, "/embeddings");
    EXPECT_EQ(openai.body, R"({"model":"e\"3","input":["a"],"encoding_format":"base64"})");
    auto const azure = make_azure_chat_dialect("2024-10-21", false)->encode_embeddings("my dep", "");
    EXPECT_EQ(azure.path, "/openai/deployments/my%20dep/embeddings?api-version=2024-10-21");
    EXPECT_EQ(azure.body, R"({"model":"my dep"})");
    EXPECT_EQ(make_azure_chat_dialect("", true)->encode_embeddings("d", "").path, "/openai/v1/embeddings");
    EXPECT_EQ(make_openrouter_dialect()->encode_embeddings("d", "").path, "/embeddings");
}

TEST(ChatDecoder, TextIsTheProvidersOwnBytes) {
    auto const decoder = make_chat_decoder();
    std::string const stream = text_chunk("a") + text_chunk(R"(\n\u00e9\ud83d\ude00\/)") + std::string(200, '\n');
    auto const fed = feed(*decoder, stream);
    ASSERT_TRUE(fed.result);
    ASSERT_EQ(fed.events.size(), 3U); // the model, and two texts
    auto const body = std::get<chat::TextDelta>(fed.events[2]).body;
    EXPECT_EQ(body, R"(\n\u00e9\ud83d\ude00\/)");
    EXPECT_GE(body.data(), stream.data()) << "not copied";
    EXPECT_LT(body.data(), stream.data() + stream.size()) << "not copied";
}

TEST(ChatDecoder, EventsOfOneFeedLiveTogether) {
    auto const decoder = make_chat_decoder();
    std::string const stream = text_chunk("one") + text_chunk("two") + text_chunk(R"(\ud800)") + text_chunk("four");
    std::string_view const view = stream;
    auto const start = feed(*decoder, view.substr(0, 20));
    ASSERT_TRUE(start.result);
    auto const memory = std::make_unique<std::string>(view.substr(20));
    auto const fed = feed(*decoder, *memory);
    ASSERT_EQ(fed.events.size(), 5U);
    std::string all;
    for (std::size_t i = 1; i < fed.events.size(); ++i)
        all += std::get<chat::TextDelta>(fed.events[i]).body;
    EXPECT_EQ(all,
              "onetwo\xEF\xBF\xBD"
              "four");
}

TEST(ChatDecoder, IsDoneAtTheEndMarkOnly) {
    auto const decoder = make_chat_decoder();
    auto const end = R"({"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]})";
    EXPECT_EQ(feed(*decoder, sse(end)).events.size(), 1U);
    EXPECT_FALSE(decoder->done());
    auto const last = feed(*decoder, "data: [DONE]\n\n" + text_chunk("late"));
    EXPECT_EQ(last.events.size(), 1U);
    EXPECT_TRUE(decoder->done());
    EXPECT_TRUE(feed(*decoder, text_chunk("later")).events.empty());
    std::vector<chat::RunEvent> events;
    EXPECT_TRUE(decoder->finish(events));
    EXPECT_TRUE(events.empty());
}

// What stands behind an event in the buffer is none of its own.
TEST(ChatDecoder, ANullWithMoreBehindItIsRefusedHoweverItComes) {
    std::string const stream = "data: null=\n\n" + text_chunk("a") + std::string(200, '\n');
    for (std::size_t const step : {std::size_t{1}, std::size_t{14}, stream.size()}) {
        auto const decoder = make_chat_decoder();
        core::Result<> result;
        for (std::size_t at = 0; result && at < stream.size(); at += step)
            result = feed(*decoder, std::string_view(stream).substr(at, step)).result;
        ASSERT_FALSE(result) << step;
        EXPECT_EQ(result.error().code, Errc::kUpstreamInvalid) << step;
    }
}

TEST(ChatDecoder, RefusesAnEventAboveTheLimit) {
    auto const decoder = make_chat_decoder();
    auto const fed = feed(*decoder, text_chunk("a") + "data: " + std::string(net::kSseEventBytesMax, 'x'));
    ASSERT_FALSE(fed.result);
    EXPECT_EQ(fed.result.error().code, Errc::kUpstreamInvalid);
    EXPECT_EQ(fed.events.size(), 2U) << "what came before is passed on";
}

TEST(ChatDecoder, TakesAnEventOfSeveralMegabytes) {
    auto const decoder = make_chat_decoder();
    std::string const body(6'000'000, 'x');
    auto const stream = text_chunk("a") + text_chunk(body);
    EXPECT_TRUE(feed(*decoder, std::string_view(stream).substr(0, 3'000'000)).result);
    auto const fed = feed(*decoder, std::string_view(stream).substr(3'000'000));
    ASSERT_EQ(fed.events.size(), 1U);
    EXPECT_EQ(std::get<chat::TextDelta>(fed.events[0]).body, body);
}

TEST(ChatDecoder, RefusesMoreChoicesThanTheApiHas) {
    auto const decoder = make_chat_decoder();
    EXPECT_TRUE(feed(*decoder, sse(R"({"choices":[{"index":127,"delta":{"content":"a"}}]})")).result);
    EXPECT_FALSE(feed(*decoder, sse(R"({"choices":[{"index":128,"delta":{"content":"a"}}]})")).result);
}

TEST(ChatDecoder, RefusesMoreToolCallsThanTheSdksTake) {
    auto const decoder = make_chat_decoder();
    auto const call = [&](int n) {
        return feed(*decoder, sse(R"({"choices":[{"delta":{"tool_calls":[{"index":)" + std::to_string(n) +
                                  R"(,"id":"c)" + std::to_string(n) + R"(","function":{"name":"f"}}]}}]})"));
    };
    for (int n = 0; n < 128; ++n)
        ASSERT_TRUE(call(n).result) << n;
    auto const fed = call(128);
    ASSERT_FALSE(fed.result);
    EXPECT_EQ(fed.result.error().code, Errc::kUpstreamInvalid);
}

// The arguments of each call of `f` that the pieces come to, as JSON string bodies, however the stream is cut.
std::vector<std::string> decode_calls(std::vector<std::string> const& pieces) {
    std::string stream;
    for (auto const& piece : pieces)
        stream += sse(R"({"id":"x","choices":[{"index":0,"delta":{"tool_calls":[)" + piece + "]}}]}");
    stream += sse(R"({"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]})");
    auto const cut_in = [&](std::size_t step) {
        auto const decoder = make_chat_decoder();
        std::vector<std::string> calls;
        for (std::size_t at = 0; at < stream.size(); at += step) {
            auto const fed = feed(*decoder, std::string_view(stream).substr(at, step));
            EXPECT_TRUE(fed.result);
            for (auto const& event : fed.events) {
                auto const* const call = std::get_if<chat::ToolCallDelta>(&event);
                if (call == nullptr) continue;
                if (!call->name.empty()) calls.emplace_back();
                calls.at(static_cast<std::size_t>(call->index)) += call->arguments;
            }
        }
        return calls;
    };
    auto const whole = cut_in(stream.size());
    EXPECT_EQ(cut_in(1), whole);
    EXPECT_EQ(cut_in(97), whole);
    return whole;
}

std::string unnumbered(std::string_view arguments) {
    return R"({"function":{"name":"f","arguments":")" + std::string(arguments) + R"("}})";
}

std::string numbered(std::string_view arguments) {
    return R"({"index":0,"id":"c1","function":{"name":"f","arguments":")" + std::string(arguments) + R"("}})";
}

using Calls = std::vector<std::string>;

TEST(ChatDecoder, WhatBearsTheIdAndIndexOfAWholeCallIsNoOtherCall) {
    auto const calls = decode_calls({numbered(R"({\"a\":1})"), numbered(R"(\n)")});
    ASSERT_EQ(calls.size(), 1U);
    EXPECT_TRUE(calls[0] == R"({\"a\":1})" || calls[0] == R"({\"a\":1}\n)") << calls[0];
}

TEST(ChatDecoder, AQuoteMayBeWrittenAsACode) {
    EXPECT_EQ(decode_calls({unnumbered(R"({\"a\":\"{\"})"), unnumbered(R"({\"a\":\"y\"})")}),
              (Calls{R"({\"a\":\"{\"})", R"({\"a\":\"y\"})"}));
    EXPECT_EQ(
        decode_calls({unnumbered(R"({\u0022a\u0022:\u0022{\u0022})"), unnumbered(R"({\u0022a\u0022:\u0022y\u0022})")}),
        (Calls{R"({\u0022a\u0022:\u0022{\u0022})", R"({\u0022a\u0022:\u0022y\u0022})"}));
    for (auto const* const backslash : {R"(\\)", R"(\u005c)", R"(\u005C)"}) {
        auto const first = R"({\u0022a\u0022:\u0022)" + std::string(backslash) + R"(\u0022}\u0022})";
        EXPECT_EQ(decode_calls({unnumbered(first), unnumbered("{}")}), (Calls{first, "{}"}));
    }
    EXPECT_EQ(decode_calls({unnumbered(R"(\u007b\u007D)"), unnumbered("{}")}), (Calls{R"(\u007b\u007D)", "{}"}));
    for (auto* const piece_of : {unnumbered, numbered}) {
        EXPECT_EQ(decode_calls({piece_of(R"({\u0022c\u0022:\u0022})"), piece_of(R"(\u0022})")}),
                  (Calls{R"({\u0022c\u0022:\u0022}\u0022})"}));
    }
}

TEST(ChatDecoder, AnotherCallMayLookLikeMoreOfTheFirst) {
    EXPECT_EQ(decode_calls({unnumbered(R"({\"a\":)"), unnumbered("1}"), unnumbered(R"({\"a\":2})")}),
              (Calls{R"({\"a\":1})", R"({\"a\":2})"}));
    EXPECT_EQ(decode_calls({unnumbered(R"({\"a\":)"), unnumbered("1"), unnumbered("1}"), unnumbered(R"({\"a\":)"),
                            unnumbered("2"), unnumbered("2}")}),
              (Calls{R"({\"a\":11})", R"({\"a\":22})"}));
}

TEST(ChatDecoder, LeavesOutABrokenOrnamentButNotTheText) {
    auto const decoder = make_chat_decoder();
    auto const fed = feed(
        *decoder,
        sse(R"({"choices":[{"delta":{"content":"a","images":[tru],"audio":{"id":"\ud800"}},"logprobs":{"x":01}}]})"));
    ASSERT_TRUE(fed.result);
    ASSERT_EQ(fed.events.size(), 1U);
    EXPECT_EQ(std::get<chat::TextDelta>(fed.events[0]).body, "a");
    EXPECT_EQ(std::get<chat::TextDelta>(fed.events[0]).logprobs, "");
}

} // namespace
} // namespace parley::providers

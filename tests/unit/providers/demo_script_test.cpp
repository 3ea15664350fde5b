// The demo model as someone sees it who talks to it.
#include "providers/demo_script.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "tests/unit/providers/turn_from_json.hpp"

namespace parley::providers {

namespace {

namespace json = boost::json;

constexpr std::string_view kTools = R"([{"type":"function","function":{"name":"fs__read_file"}},
                                       {"type":"function","function":{"name":"get_time","parameters":{}}}])";

ModelSpec demo_spec() {
    ModelSpec spec;
    spec.model = "demo";
    return spec;
}

DemoAnswer answer(std::string_view request, ModelSpec const& spec = demo_spec()) {
    tests::TurnFromJson const reader(json::parse(json::string_view(request.data(), request.size())).as_object());
    return answer_as_demo(spec, reader.turn());
}

/// The answer to one user message.
DemoAnswer ask(std::string_view text, json::object more = {}, ModelSpec const& spec = demo_spec()) {
    more["messages"] =
        json::array{json::object{{"role", "user"}, {"content", json::string_view(text.data(), text.size())}}};
    return answer(json::serialize(more), spec);
}

DemoAnswer ask_with_tools(std::string_view text) {
    return ask(text, {{"tools", json::parse(json::string_view(kTools.data(), kTools.size()))}});
}

using Pieces = std::vector<std::string_view>;

Pieces pieces(std::string_view text) {
    Pieces out;
    for (; !text.empty(); text.remove_prefix(out.back().size()))
        out.push_back(demo_piece(text));
    return out;
}

bool has(std::string const& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

TEST(DemoScript, TellsWhatItWasSent) {
    ModelSpec spec = demo_spec();
    spec.system_prompt = std::string(214, 'p');
    spec.settings["temperature"] = 0.25;
    spec.tools = kTools;
    std::string const said =
        answer(
            R"({"messages":[{"role":"user","content":"One"},{"role":"assistant","content":"Two"},{"role":"user","content":"Why is the sky blue?"}],"seed":7})",
            spec)
            .text;
    EXPECT_TRUE(has(said, "`demo`")) << said;
    EXPECT_TRUE(has(said, "> Why is the sky blue?")) << said;
    EXPECT_TRUE(has(said, "3 messages (2 user, 1 assistant)")) << said;
    EXPECT_TRUE(has(said, "214 bytes")) << said;
    EXPECT_FALSE(has(said, "ppp")) << "the prompt itself is the operator's";
    EXPECT_TRUE(has(said, "`fs__read_file`, `get_time`")) << said;
    EXPECT_TRUE(has(said, "settings: temperature 0.25, seed 7")) << said;
    EXPECT_TRUE(has(said, "/help")) << said;
}

TEST(DemoScript, IsDeterministicAndNeverSilent) {
    for (std::string_view const said : {"", " ", "x", "/", "/unknown thing", "### Task:\nGenerate a concise title"}) {
        DemoAnswer const one = ask(said);
        EXPECT_FALSE(one.text.empty()) << said;
        EXPECT_EQ(one.text, ask(said).text);
        EXPECT_EQ(one.finish, chat::FinishReason::kStop);
    }
    EXPECT_FALSE(answer(R"({"messages":[]})").text.empty());
}

TEST(DemoScript, QuotesNoMoreThanItMust) {
    std::string const said = ask(std::string(100'000, 'q')).text;
    EXPECT_LT(said.size(), 2000u);
    EXPECT_TRUE(has(said, "…"));
    std::string umlauts;
    for (int i = 0; i < 1000; ++i)
        umlauts += "\xC3\xBC";
    EXPECT_FALSE(has(ask("x" + umlauts).text, "\xC3…")); // cut between characters
}

TEST(DemoScript, CountsAttachmentsAndReadsTextParts) {
    std::string const said =
        answer(
            R"({"messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"data:x"}}]}]})")
            .text;
    EXPECT_TRUE(has(said, "> What is this?")) << said;
    EXPECT_TRUE(has(said, "1 images, files or sounds")) << said;
}

TEST(DemoScript, EchoIsByteExact) {
    for (std::string const& said :
         {std::string("plain"), std::string("  two  spaces \t tab "), std::string("line\n\n\nlines\r\n"),
          std::string("\xF0\x9F\x98\x80 \xC3\xBC \"quoted\" \\ </script>"), std::string(5000, 'x'),
          std::string("a\0b", 3), std::string("\n"), std::string()}) {
        EXPECT_EQ(ask("/echo " + said).text, said);
    }
    DemoAnswer const umlauts = ask("/echo " + std::string(31, 'x') + [] {
        std::string s;
        for (int i = 0; i < 500; ++i)
            s += "\xE2\x82\xAC";
        return s;
    }());
    for (auto const piece : pieces(umlauts.text)) {
        EXPECT_LE(piece.size(), 64u);
        EXPECT_NE(static_cast<unsigned char>(piece.front()) & 0xC0, 0x80) << "cut inside a character";
    }
}

TEST(DemoScript, PiecesAreWords) {
    EXPECT_EQ(pieces("one two\n three"), (Pieces{"one ", "two\n ", "three"}));
    EXPECT_EQ(pieces(" \n one"), (Pieces{" \n one"}));
    EXPECT_EQ(pieces(std::string(70, 'x')), (Pieces{std::string(64, 'x'), std::string(6, 'x')}));
}

TEST(DemoScript, CallsATool) {
    DemoAnswer const call = ask_with_tools("/call get_time {\"zone\": \"UTC\"}");
    ASSERT_EQ(call.calls.size(), 1u);
    EXPECT_EQ(call.calls[0].name, "get_time");
    EXPECT_EQ(call.calls[0].arguments, "{\"zone\": \"UTC\"}");
    EXPECT_FALSE(call.calls[0].id.empty());
    EXPECT_EQ(call.finish, chat::FinishReason::kToolCalls);
    EXPECT_TRUE(call.text.empty());
}

TEST(DemoScript, CallsWithoutArgumentsAndByTheLastPartOfAName) {
    DemoAnswer const call = ask_with_tools("/call read_file");
    ASSERT_EQ(call.calls.size(), 1u);
    EXPECT_EQ(call.calls[0].name, "fs__read_file");
    EXPECT_EQ(call.calls[0].arguments, "{}");
}

TEST(DemoScript, CallsSeveralToolsAtOnce) {
    DemoAnswer const call = ask_with_tools("/call get_time {\n\"a\": 1\n}\n/call read_file {}");
    ASSERT_EQ(call.calls.size(), 2u);
    EXPECT_EQ(call.calls[0].arguments, "{\n\"a\": 1\n}");
    EXPECT_EQ(call.calls[1].name, "fs__read_file");
    EXPECT_NE(call.calls[0].id, call.calls[1].id);
}

TEST(DemoScript, SaysWhatIsWrongWithACall) {
    std::string said = ask_with_tools("/call nope {}").text;
    EXPECT_TRUE(has(said, "no tool `nope`") && has(said, "`get_time`") && has(said, "`fs__read_file`")) << said;
    said = ask_with_tools("/call get_time {\"a\":").text;
    EXPECT_TRUE(has(said, "one JSON object")) << said;
    said = ask_with_tools("/call get_time [1]").text;
    EXPECT_TRUE(has(said, "not an object")) << said;
    said = ask_with_tools("/call").text;
    EXPECT_TRUE(has(said, "Say which tool")) << said;
    said = ask("/call get_time {}").text;
    EXPECT_TRUE(has(said, "No tools can be used")) << said;
}

TEST(DemoScript, TellsWhatTheToolsSaid) {
    std::string const request = R"({"messages":[{"role":"user","content":"/call get_time {}"},
        {"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"get_time","arguments":"{}"}},
                                                         {"id":"c2","type":"function","function":{"name":"fs__read_file","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"c2","content":"file text"},{"role":"tool","tool_call_id":"c1","content":[{"type":"text","text":"12:00"}]}],
        "tool_choice":"required","tools":)" +
                                std::string(kTools) + "}";
    DemoAnswer const told = answer(request);
    EXPECT_TRUE(told.calls.empty());
    EXPECT_TRUE(has(told.text, "`fs__read_file` answered:\n\n```\nfile text\n```")) << told.text;
    EXPECT_TRUE(has(told.text, "`get_time` answered:\n\n```\n12:00\n```")) << told.text;
    EXPECT_EQ(told.finish, chat::FinishReason::kStop);
}

TEST(DemoScript, ObeysToolChoice) {
    json::value const tools = json::parse(json::string_view(kTools.data(), kTools.size()));
    EXPECT_TRUE(ask("/call get_time {}", {{"tools", tools}, {"tool_choice", "none"}}).calls.empty());
    DemoAnswer const required = ask("hello", {{"tools", tools}, {"tool_choice", "required"}});
    ASSERT_EQ(required.calls.size(), 1u);
    EXPECT_EQ(required.calls[0].name, "fs__read_file");
    DemoAnswer const named =
        ask("hello",
            {{"tools", tools}, {"tool_choice", json::parse(R"({"type":"function","function":{"name":"get_time"}})")}});
    ASSERT_EQ(named.calls.size(), 1u);
    EXPECT_EQ(named.calls[0].name, "get_time");
}

TEST(DemoScript, CallIdsAreNewInALongerConversation) {
    std::string const tools = std::string(kTools);
    DemoAnswer const first =
        answer(R"({"messages":[{"role":"user","content":"/call get_time"}],"tools":)" + tools + "}");
    DemoAnswer const later = answer(
        R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"/call get_time"}],"tools":)" +
        tools + "}");
    EXPECT_NE(first.calls.at(0).id, later.calls.at(0).id);
}

TEST(DemoScript, HonoursMaxTokens) {
    DemoAnswer const cut = ask("/echo one two three", {{"max_tokens", 2}});
    EXPECT_EQ(cut.text, "one two ");
    EXPECT_EQ(cut.finish, chat::FinishReason::kLength);
    EXPECT_EQ(cut.usage.completion_tokens, 2);
    EXPECT_EQ(ask("/echo one two", {{"max_completion_tokens", 2}}).finish, chat::FinishReason::kStop);
    DemoAnswer const thinking = ask("/think x", {{"max_tokens", 3}});
    EXPECT_EQ(pieces(thinking.reasoning).size(), 3u);
    EXPECT_TRUE(thinking.text.empty());
    ModelSpec spec = demo_spec();
    spec.settings["max_tokens"] = 1;
    EXPECT_EQ(ask("/echo one two", {}, spec).text, "one ");
    EXPECT_EQ(ask("/echo one two", {{"max_completion_tokens", 50}}, spec).text, "one two");
}

TEST(DemoScript, HonoursStop) {
    EXPECT_EQ(ask("/echo one two three", {{"stop", " th"}}).text, "one two");
    EXPECT_EQ(ask("/echo one two three", {{"stop", json::array{"three", "wo"}}}).text, "one t");
    EXPECT_EQ(ask("/echo one\ntwo", {{"stop", "\n"}}).text, "one");
    EXPECT_EQ(ask("/echo one", {{"stop", "x"}}).finish, chat::FinishReason::kStop);
}

TEST(DemoScript, HonoursN) {
    EXPECT_EQ(ask("hello").choices, 1);
    DemoAnswer const three = ask("/echo one two", {{"n", 3}});
    EXPECT_EQ(three.choices, 3);
    EXPECT_EQ(three.usage.completion_tokens, 6);
}

TEST(DemoScript, HasAPace) {
    EXPECT_EQ(ask("hello").delay, std::chrono::milliseconds(15));
    ModelSpec spec = demo_spec();
    spec.settings["demo_delay_ms"] = 0;
    EXPECT_EQ(ask("hello", {}, spec).delay, std::chrono::milliseconds(0));
    spec.settings["demo_delay_ms"] = -4;
    EXPECT_EQ(ask("hello", {}, spec).delay, std::chrono::milliseconds(0));
    spec.settings["demo_delay_ms"] = "soon";
    EXPECT_EQ(ask("hello", {}, spec).delay, std::chrono::milliseconds(15));
    EXPECT_EQ(ask("/slow 700 a b").delay, std::chrono::milliseconds(700));
    EXPECT_EQ(ask("/slow 700 a b").text, "a b");
    EXPECT_TRUE(ask("/slow 700 a b").is_slow);
    EXPECT_FALSE(ask("hello").is_slow);
    EXPECT_EQ(ask("/slow").delay, std::chrono::milliseconds(300));
    EXPECT_EQ(ask("/slow 99999999").delay, std::chrono::milliseconds(10'000));
    EXPECT_EQ(ask("/slow", {{"demo_delay_ms", 1}}).delay, std::chrono::milliseconds(300));
}

TEST(DemoScript, AnswersAtLength) {
    DemoAnswer const answer = ask("/long 1000");
    EXPECT_EQ(pieces(answer.text).size(), 1000u);
    EXPECT_TRUE(answer.text.starts_with("1 2 3 "));
    EXPECT_TRUE(answer.text.ends_with(" 999 1000"));
    EXPECT_LE(pieces(ask("/long 999999999").text).size(), 100'000u);
    EXPECT_TRUE(has(ask("/long many").text, "/long 500"));
}

TEST(DemoScript, ThinksAloud) {
    DemoAnswer const answer = ask("/think the moon");
    EXPECT_TRUE(has(answer.reasoning, "the moon"));
    EXPECT_TRUE(has(answer.text, "the moon"));
    EXPECT_EQ(answer.usage.reasoning_tokens, static_cast<std::int64_t>(pieces(answer.reasoning).size()));
    EXPECT_GT(answer.usage.completion_tokens, answer.usage.reasoning_tokens);
}

TEST(DemoScript, FailsWhenTold) {
    DemoAnswer const limited = ask("/error 429");
    ASSERT_TRUE(limited.error);
    EXPECT_EQ(limited.error->code, core::Errc::kRateLimited);
    EXPECT_EQ(limited.error->upstream_status, 429);
    EXPECT_TRUE(limited.error->retry_after);
    EXPECT_TRUE(limited.text.empty());
    DemoAnswer const late = ask("/error truncated one two");
    ASSERT_TRUE(late.error);
    EXPECT_EQ(late.error->code, core::Errc::kUpstreamTruncated);
    EXPECT_EQ(late.text, "one two");
    DemoAnswer const unknown = ask("/error 999");
    EXPECT_FALSE(unknown.error);
    EXPECT_TRUE(has(unknown.text, "`timeout`"));
}

TEST(DemoScript, HelpNamesEveryCommandThatWorks) {
    std::string const help = ask("/help").text;
    for (std::string_view const name :
         {"/echo", "/call", "/tools", "/messages", "/settings", "/think", "/slow", "/long", "/error"}) {
        EXPECT_TRUE(has(help, name)) << name;
        EXPECT_FALSE(has(ask(name).text, "What I was sent")) << name;
    }
}

TEST(DemoScript, ListsMessagesAndSettings) {
    std::string said =
        answer(
            R"({"messages":[{"role":"user","content":"My name\nis Ann"},{"role":"assistant","content":"Hello Ann"},{"role":"user","content":"/messages"}]})")
            .text;
    EXPECT_TRUE(has(said, "1. user: My name is Ann")) << said;
    EXPECT_TRUE(has(said, "2. assistant: Hello Ann")) << said;
    ModelSpec spec = demo_spec();
    spec.settings["temperature"] = 1;
    said = ask("/settings", {{"seed", 7}}, spec).text;
    EXPECT_TRUE(has(said, "`temperature`: `1` (from the agent)")) << said;
    EXPECT_TRUE(has(said, "`seed`: `7`")) << said;
}

TEST(DemoScript, AnswersInJsonWhereThatIsAsked) {
    std::string const object = ask("say \"x\"", {{"response_format", {{"type", "json_object"}}}}).text;
    EXPECT_EQ(json::parse(object), json::parse(R"({"you_said":"say \"x\""})"));
    json::value const format = json::parse(R"({"type":"json_schema","json_schema":{"name":"r","schema":{"type":"object",
        "properties":{"a":{"type":"integer"},"b":{"type":["string","null"]},"c":{"type":"array","items":{"type":"string"}},
          "d":{"enum":["red","blue"]},"e":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]},"f":{"type":"boolean"}},
        "$defs":{"n":{"type":"object","properties":{"x":{"type":"number"}}}}}}})");
    EXPECT_EQ(json::parse(ask("x", {{"response_format", format}}).text),
              json::parse(R"({"a":0,"b":"demo","c":[],"d":"red","e":{"x":0},"f":false})"));
}

TEST(DemoScript, ASchemaThatMultipliesItselfIsBounded) {
    json::object properties;
    for (char c = 'a'; c <= 'z'; ++c)
        properties[std::string(1, c)] = json::object{{"$ref", "#"}};
    json::value const format = {
        {"type", "json_schema"},
        {"json_schema", {{"name", "r"}, {"schema", {{"type", "object"}, {"properties", properties}}}}}};
    EXPECT_LT(ask("x", {{"response_format", format}}).text.size(), 1'000'000u);
}

TEST(DemoScript, EstimatesUsage) {
    DemoAnswer const answer = ask("/echo one two");
    EXPECT_EQ(answer.usage.prompt_tokens, 4); // "/echo one two" in quotes: 15 bytes
    EXPECT_EQ(answer.usage.completion_tokens, 2);
}

} // namespace

} // namespace parley::providers

// The agent's tools as clients see them: each form, and that a call shown is always answered.
#include "server/tool_display.hpp"

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "server/chat_writer.hpp"

namespace parley::server {
namespace {

namespace js = boost::json;
using namespace chat;
using Mode = agents::ToolProgress;
using Events = std::vector<RunEvent>;
using std::chrono::milliseconds;

constexpr std::size_t kLineBytesMax = 64 * 1024;

net::RequestHead head_with(std::vector<net::Field> fields) {
    net::RequestHead head;
    head.fields = std::move(fields);
    return head;
}

ToolDisplay shown(Mode configured, std::vector<net::Field> fields = {}) {
    auto const display = tool_display(configured, head_with(std::move(fields)));
    EXPECT_TRUE(display);
    return display ? *display : ToolDisplay::kQuiet;
}

TEST(ToolDisplay, IsQuietUnlessSomebodyAsksOrItIsOpenWebui) {
    EXPECT_EQ(shown(Mode::kAuto), ToolDisplay::kQuiet);
    EXPECT_EQ(shown(Mode::kAuto, {{"X-OpenWebUI-Chat-Id", "c1"}}), ToolDisplay::kOpenWebui);
    EXPECT_EQ(shown(Mode::kReasoning, {{"x-openwebui-chat-id", "c1"}}), ToolDisplay::kReasoning);
    EXPECT_EQ(shown(Mode::kEvents), ToolDisplay::kEvents);
    EXPECT_EQ(shown(Mode::kOpenWebui), ToolDisplay::kOpenWebui);
}

TEST(ToolDisplay, OpenWebuisApiAndTasksAreNotAChat) {
    EXPECT_EQ(shown(Mode::kAuto, {{"x-openwebui-chat-id", ""}, {"x-openwebui-user-id", "u"}}), ToolDisplay::kQuiet);
    EXPECT_EQ(shown(Mode::kAuto, {{"x-openwebui-chat-id", "c"}, {"x-openwebui-task", "title_generation"}}),
              ToolDisplay::kQuiet);
    EXPECT_EQ(shown(Mode::kAuto, {{"x-openwebui-chat-id", "c"}, {"x-openwebui-task", ""}}), ToolDisplay::kOpenWebui);
}

TEST(ToolDisplay, ARequestMayAsk) {
    for (auto const configured : {Mode::kAuto, Mode::kReasoning, Mode::kEvents, Mode::kOpenWebui}) {
        EXPECT_EQ(shown(configured, {{"X-Parley-Tool-Progress", "quiet"}, {"x-openwebui-chat-id", "c"}}),
                  ToolDisplay::kQuiet);
        EXPECT_EQ(shown(configured, {{"x-parley-tool-progress", "reasoning"}}), ToolDisplay::kReasoning);
        EXPECT_EQ(shown(configured, {{"x-parley-tool-progress", "events"}}), ToolDisplay::kEvents);
    }
    EXPECT_EQ(shown(Mode::kQuiet, {{"x-parley-tool-progress", "events"}}), ToolDisplay::kQuiet)
        << "the operator wants arguments and results unseen";
    auto const wrong = tool_display(Mode::kAuto, head_with({{"x-parley-tool-progress", "openwebui"}}));
    ASSERT_FALSE(wrong);
    EXPECT_EQ(wrong.error().code, core::Errc::kInvalidValue);
    EXPECT_EQ(wrong.error().param, "x-parley-tool-progress");
}

// ---- streams

struct Answer {
    explicit Answer(ToolDisplay display, bool include_usage = false)
        : writer({"chatcmpl-1", 1700000000, "helper", include_usage, 1, display}, [this] { return now; }) {}

    void write(Events const& events) { writer.write(events, out); }

    // Every line as JSON, but [DONE]; none may be too long for aiohttp clients.
    std::vector<js::object> lines() const {
        std::vector<js::object> all;
        std::istringstream text(out);
        for (std::string line; std::getline(text, line);) {
            EXPECT_LE(line.size(), kLineBytesMax);
            if (line.empty() || line == "data: [DONE]") continue;
            EXPECT_TRUE(line.starts_with("data: ")) << line;
            EXPECT_TRUE(core::check_json(line.substr(6), 64)) << line.substr(0, 300);
            all.push_back(js::parse(line.substr(6)).as_object());
        }
        return all;
    }

    // The values of a member, in order, from those lines that have it.
    std::vector<js::value> all(std::string_view member) const {
        std::vector<js::value> found;
        for (auto const& line : lines()) {
            if (auto const* value = line.if_contains(member)) found.push_back(*value);
        }
        return found;
    }

    std::string reasoning() const {
        std::string text;
        for (auto const& line : lines()) {
            if (!line.contains("choices") || line.at("choices").as_array().empty()) continue;
            auto const& delta = line.at("choices").at(0).at("delta").as_object();
            if (auto const* value = delta.if_contains("reasoning_content")) {
                EXPECT_EQ(*value, delta.at("reasoning"));
                text += value->as_string();
            }
        }
        return text;
    }

    core::SteadyTime now{std::chrono::hours(1)};
    std::string out;
    ChatStreamWriter writer;
};

ToolStarted const kStarted{"call_1", "fs__read_file", R"({"path":"a \"b\".txt"})"};
ToolEnded const kEnded{"call_1", "fs__read_file", "line 1\nline \"2\"", false, 1234};

Events a_run() {
    return {ReasoningDelta{"I should look."},
            TextDelta{"Let me see. "},
            kStarted,
            ToolStarted{"call_2", "web__get", "{}"},
            ToolProgress{"call_2", 1, 4, "halfway \"there\""},
            ToolEnded{"call_2", "web__get", "No such host.\nstack", true, 50},
            kEnded,
            TextDelta{"It says 2."},
            ChoiceEnd{}};
}

TEST(ToolStream, QuietIsAsIfThereWereNoTools) {
    Answer quiet(ToolDisplay::kQuiet);
    Answer plain(ToolDisplay::kEvents);
    quiet.write(a_run());
    for (auto const& event : a_run()) {
        auto const is_tool = std::holds_alternative<ToolStarted>(event) ||
                             std::holds_alternative<ToolProgress>(event) || std::holds_alternative<ToolEnded>(event);
        if (!is_tool) plain.write({event});
    }
    EXPECT_EQ(quiet.out, plain.out);
    Answer silent(ToolDisplay::kQuiet);
    silent.write({kStarted, ToolProgress{"call_1", 1}, kEnded});
    EXPECT_EQ(silent.out, "") << "so an error that follows can still be a plain one";
}

TEST(ToolStream, EventsAreExtraMembersOfOrdinaryChunks) {
    Answer answer(ToolDisplay::kEvents, true);
    answer.write(a_run());
    answer.writer.finish(answer.out);
    auto const agent = answer.all("agent");
    ASSERT_EQ(agent.size(), 5U);
    EXPECT_EQ(agent[0], js::parse(R"({"type":"tool_call.started","call_id":"call_1","name":"fs__read_file",
                                      "arguments":"{\"path\":\"a \\\"b\\\".txt\"}"})"));
    EXPECT_EQ(agent[2], js::parse(R"({"type":"tool_call.progress","call_id":"call_2","progress":1,"total":4,
                                      "message":"halfway \"there\""})"));
    EXPECT_EQ(agent[3], js::parse(R"({"type":"tool_call.completed","call_id":"call_2","name":"web__get",
                                      "result":"No such host.\nstack","is_error":true,"duration_ms":50})"));
    EXPECT_EQ(agent[4], js::parse(R"({"type":"tool_call.completed","call_id":"call_1","name":"fs__read_file",
                                      "result":"line 1\nline \"2\"","is_error":false,"duration_ms":1234})"));
    int roles = 0;
    for (auto const& line : answer.lines()) {
        EXPECT_EQ(line.at("object"), "chat.completion.chunk");
        EXPECT_EQ(line.at("id"), "chatcmpl-1");
        EXPECT_TRUE(line.at("usage").is_null());
        ASSERT_EQ(line.at("choices").as_array().size(), 1U);
        auto const& choice = line.at("choices").at(0);
        EXPECT_EQ(choice.at("index"), 0);
        roles += choice.at("delta").as_object().contains("role") ? 1 : 0;
        if (!line.contains("agent")) continue;
        EXPECT_TRUE(choice.at("delta").as_object().empty());
        EXPECT_TRUE(choice.at("finish_reason").is_null());
    }
    EXPECT_EQ(roles, 1);
}

TEST(ToolStream, AToolBeforeAnyTextOpensTheAnswerFirst) {
    for (auto const display : {ToolDisplay::kEvents, ToolDisplay::kReasoning, ToolDisplay::kOpenWebui}) {
        Answer answer(display);
        answer.write({kStarted});
        EXPECT_EQ(answer.lines().at(0).at("choices").at(0).at("delta").at("role"), "assistant");
    }
}

TEST(ToolStream, ReasoningLinesOfTheirOwn) {
    Answer answer(ToolDisplay::kReasoning);
    answer.write(a_run());
    answer.writer.finish(answer.out);
    EXPECT_EQ(answer.reasoning(),
              "I should look.\n"
              "Using fs__read_file …\n"
              "Using web__get …\n"
              "web__get: 1 of 4, halfway \"there\"\n"
              "web__get failed after 50 ms: No such host.\n"
              "fs__read_file took 1.2 s.\n");
    EXPECT_TRUE(answer.all("agent").empty());
}

TEST(ToolStream, ProgressAtMostOncePerSecondAndCall) {
    for (auto const display : {ToolDisplay::kEvents, ToolDisplay::kReasoning}) {
        Answer answer(display);
        answer.write({kStarted, ToolStarted{"call_2", "b", "{}"}});
        auto const before = answer.lines().size();
        for (int i = 0; i < 2100; ++i) {
            answer.write({ToolProgress{"call_1", static_cast<double>(i)}});
            answer.now += milliseconds(1);
        }
        EXPECT_EQ(answer.lines().size() - before, 3U) << "at 0, 1 and 2 s";
        answer.write({ToolProgress{"call_2", 1}, ToolProgress{"strange", 1}});
        EXPECT_EQ(answer.lines().size() - before, 4U);
        answer.write({ToolEnded{"call_2", "b", "", false, 1}, ToolProgress{"call_2", 2}});
        EXPECT_EQ(answer.lines().size() - before, 5U) << "nothing after its end";
    }
    Answer answer(ToolDisplay::kEvents);
    answer.write({kStarted, ToolProgress{"call_1", std::numeric_limits<double>::infinity(), -1}});
    EXPECT_EQ(answer.all("agent").at(1), js::parse(R"({"type":"tool_call.progress","call_id":"call_1"})"));
}

TEST(ToolStream, OpenWebuiGetsItemsThatReplaceThemselves) {
    Answer answer(ToolDisplay::kOpenWebui);
    answer.write({kStarted, kEnded});
    std::string const added = R"(data: {"type":"response.output_item.added","output_index":9999,"item":)";
    std::string const call = added + R"({"type":"function_call","id":"fc_call_1","call_id":"call_1",)"
                                     R"("name":"fs__read_file","arguments":"{\"path\":\"a \\\"b\\\".txt\"}","status":)";
    EXPECT_EQ(answer.out.substr(answer.out.find(added)),
              call + "\"in_progress\"}}\n\n" + call + "\"completed\"}}\n\n" + added +
                  R"({"type":"function_call_output","id":"fco_call_1","call_id":"call_1","status":"completed",)"
                  R"("output":[{"type":"input_text","text":"line 1\nline \"2\""}]}})"
                  "\n\n");
    answer.write({ToolStarted{"x", "f", ""}, ToolEnded{"x", "f", "bad", true, 1}});
    EXPECT_EQ(answer.all("item").back().at("status"), "failed");
}

TEST(ToolStream, OpenWebuiGetsAStatusLineThatAlwaysEnds) {
    auto const last = [](Answer const& answer) {
        auto const events = answer.all("event");
        return js::serialize(events.back().at("data"));
    };
    Answer answer(ToolDisplay::kOpenWebui);
    answer.write({kStarted, ToolProgress{"call_1", 1, 4, "halfway"}});
    EXPECT_EQ(last(answer), R"({"description":"fs__read_file: 1 of 4, halfway","done":false})");
    answer.write({kEnded});
    EXPECT_EQ(last(answer), R"({"description":"fs__read_file took 1.2 s.","done":true})");
    Answer broken(ToolDisplay::kOpenWebui);
    broken.write({kStarted, ToolProgress{"call_1", 1}});
    broken.writer.fail(core::make_error(core::Errc::kInternal, "x"), broken.out);
    EXPECT_TRUE(last(broken).ends_with(R"("done":true})")) << last(broken);
    Answer plain(ToolDisplay::kOpenWebui);
    plain.write({kStarted, kEnded});
    EXPECT_TRUE(plain.all("event").empty()) << "a call without progress has its own spinner";
}

TEST(ToolStream, OpenWebuiGetsSourcesAndPictures) {
    std::vector<ToolSource> const sources{{"Tides", "https://t.example/a?b=\"c", "The \"moon\"."},
                                          {"", "https://m.example", ""}};
    std::vector<ToolImage> const images{{"image/png", "aGk="},
                                        {"image/svg+xml", "aGk="},
                                        {"image/png", "\"},{\"x\":\""},
                                        {"image/png", std::string(kShownImageBytesMax + 1, 'a')}};
    auto ended = kEnded;
    ended.sources = sources;
    ended.images = images;
    Answer answer(ToolDisplay::kOpenWebui);
    answer.write({kStarted, ended});
    auto const events = answer.all("event");
    ASSERT_EQ(events.size(), 3U);
    EXPECT_EQ(events[0],
              js::parse(R"({"type":"source","data":{"source":{"name":"Tides","url":"https://t.example/a?b=\"c"},
        "document":["The \"moon\"."],"metadata":[{"source":"https://t.example/a?b=\"c","name":"Tides"}]}})"));
    EXPECT_EQ(events[1].at("data").at("source").at("name"), "https://m.example");
    EXPECT_EQ(events[2],
              js::parse(R"({"type":"files","data":{"files":[{"type":"image","url":"data:image/png;base64,aGk="}]}})"));
    Answer strict(ToolDisplay::kEvents);
    strict.write({kStarted, ended});
    EXPECT_TRUE(strict.all("event").empty()) << "for Open WebUI alone";
}

// It comes back as a tool call of the history, and providers refuse arguments that are no JSON object.
TEST(ToolStream, OpenWebuiGetsArgumentsThatAreAnObject) {
    std::string const large = R"({"text":")" + std::string(40'000, 'x') + "\"}";
    for (std::string const& written : {std::string(), std::string(" "), std::string("{\"a\":"), std::string("[1]"),
                                       std::string("{\"a\":\"\xFF\"}"), large}) {
        Answer answer(ToolDisplay::kOpenWebui);
        answer.write({ToolStarted{"c", "f", written}, ToolEnded{"c", "f", "r", false, 1}});
        for (auto const& item : answer.all("item")) {
            if (item.at("type") != "function_call") continue;
            std::string const arguments(item.at("arguments").as_string());
            EXPECT_TRUE(js::parse(arguments).is_object()) << arguments;
            EXPECT_LE(arguments.size(), kOpenWebuiArgumentsBytesMax);
        }
    }
}

// An unanswered call makes Open WebUI run the tool itself and ask again.
TEST(ToolStream, ACallShownIsAnsweredAlsoBeforeAnError) {
    for (bool const error : {false, true}) {
        Answer answer(ToolDisplay::kOpenWebui);
        answer.write({kStarted, ToolStarted{"call_2", "b", "{}"}, kEnded});
        if (error) {
            answer.writer.fail(core::make_error(core::Errc::kUpstreamTruncated, "gone"), answer.out);
        } else {
            answer.writer.finish(answer.out);
        }
        auto const items = answer.all("item");
        ASSERT_EQ(items.size(), 6U);
        EXPECT_EQ(items[5].at("type"), "function_call_output");
        EXPECT_EQ(items[5].at("call_id"), "call_2");
        EXPECT_EQ(items[5].at("status"), "failed");
        if (error) EXPECT_TRUE(answer.lines().back().contains("error"));
    }
    Answer answer(ToolDisplay::kEvents);
    answer.write({kStarted});
    answer.writer.fail(core::make_error(core::Errc::kInternal, "x"), answer.out);
    EXPECT_EQ(answer.all("agent").back().at("is_error"), true);
}

TEST(ToolStream, EndsWithoutAStartAndSecondStartsAreNotShown) {
    for (auto const display : {ToolDisplay::kEvents, ToolDisplay::kOpenWebui, ToolDisplay::kReasoning}) {
        Answer answer(display);
        answer.write({kEnded});
        EXPECT_EQ(answer.out, "");
        answer.write({kStarted});
        auto const size = answer.out.size();
        answer.write({kStarted});
        EXPECT_EQ(answer.out.size(), size);
    }
}

TEST(ToolStream, TheErrorOfAStreamSaysWhetherToAskAgain) {
    Answer answer(ToolDisplay::kQuiet);
    auto error = core::make_error(core::Errc::kUpstreamTruncated, "gone");
    answer.writer.fail(error, answer.out);
    EXPECT_FALSE(answer.lines().back().at("error").as_object().contains("should_retry"));
    error.should_retry = false; // a tool has run
    answer.writer.fail(error, answer.out);
    EXPECT_EQ(answer.lines().back().at("error"), js::parse(R"({"message":"gone","type":"server_error","param":null,
                                                              "code":"upstream_truncated","should_retry":false})"));
}

TEST(ToolStream, LongAndStrangeTextsAreCutWhereTheyMayBe) {
    for (std::string_view const unit : {"x", "\x01", "\xF0\x9F\x98\x80", "\"", "\xC3\xA9", "\xFF", "\\"}) {
        std::string text;
        while (text.size() < 300'000)
            text += unit;
        for (auto const display : {ToolDisplay::kEvents, ToolDisplay::kOpenWebui, ToolDisplay::kReasoning}) {
            Answer answer(display, true);
            answer.write(
                {ToolStarted{"c", "f", text}, ToolProgress{"c", 1, 2, text}, ToolEnded{"c", "f", text, true, 1}});
            answer.writer.finish(answer.out);
            EXPECT_LE(answer.out.size(), 128U * 1024);
            EXPECT_FALSE(answer.lines().empty());
        }
        std::string body;
        append_cut_body(body, text, 4096);
        EXPECT_LE(body.size(), 4096U) << unit;
        EXPECT_TRUE(core::check_json("\"" + body + "\"", 2));
        EXPECT_TRUE(body.ends_with(" bytes in all]"));
        std::string again;
        append_cut_body(again, core::json_body_to_text(body), 4096);
        EXPECT_EQ(again, body) << "what is cut once stays as it is";
    }
    std::string whole;
    append_cut_body(whole, "short", 5);
    EXPECT_EQ(whole, "short");
}

// ---- whole answers

js::object whole(ToolDisplay display, Events const& events) {
    ChatJsonWriter writer({"chatcmpl-1", 1700000000, "helper", false, 1, display});
    writer.write(events);
    std::string out;
    writer.finish(out);
    EXPECT_TRUE(core::check_json(out, 64)) << out;
    return js::parse(out).as_object();
}

TEST(ToolJson, CallsAreListedWhereEventsAreAskedFor) {
    auto events = a_run();
    events.emplace_back(ToolStarted{"call_3", "c", "{"});
    EXPECT_EQ(whole(ToolDisplay::kEvents, events).at("agent"), js::parse(R"({"tool_calls":[
        {"call_id":"call_1","name":"fs__read_file","arguments":"{\"path\":\"a \\\"b\\\".txt\"}",
         "result":"line 1\nline \"2\"","is_error":false,"duration_ms":1234},
        {"call_id":"call_2","name":"web__get","arguments":"{}","result":"No such host.\nstack","is_error":true,
         "duration_ms":50},
        {"call_id":"call_3","name":"c","arguments":"{","result":"The run ended before this tool did.",
         "is_error":true,"duration_ms":0}]})"));
    for (auto const display : {ToolDisplay::kQuiet, ToolDisplay::kReasoning, ToolDisplay::kOpenWebui}) {
        auto const object = whole(display, events);
        EXPECT_FALSE(object.contains("agent"));
        EXPECT_EQ(object.at("choices").at(0).at("message").at("content"), "Let me see. It says 2.");
        EXPECT_EQ(object.at("choices").at(0).at("message").at("reasoning"), "I should look.");
    }
    EXPECT_FALSE(whole(ToolDisplay::kEvents, {TextDelta{"no tools"}}).contains("agent"));
}

TEST(ToolUsage, TellsWhatTheRunDid) {
    UsageReport report;
    report.usage.prompt_tokens = 10;
    report.agent = AgentUsage{3, 2, 5, 4, 1, 7, StopReason::kMaxToolRounds};
    auto const expected = js::parse(R"({"llm_calls":3,"tool_rounds":2,"tool_calls_requested":5,
        "tool_calls_executed":4,"tool_calls_failed":1,"last_prompt_tokens":7,"stop_reason":"max_tool_rounds"})");
    EXPECT_EQ(whole(ToolDisplay::kQuiet, {report}).at("usage").at("agent"), expected);
    Answer answer(ToolDisplay::kQuiet, true);
    answer.write({report});
    answer.writer.finish(answer.out);
    EXPECT_EQ(answer.all("usage").back().at("agent"), expected);
    report.agent.reset();
    EXPECT_FALSE(whole(ToolDisplay::kQuiet, {report}).at("usage").as_object().contains("agent"));
}

// What tests/integration/sdk feeds to the strict readers of real SDKs. PARLEY_GOLDEN_UPDATE=1 renews it.
TEST(ToolStream, GoldenForTheSdks) {
    UsageReport report;
    report.usage.prompt_tokens = 10;
    report.usage.completion_tokens = 8;
    report.agent = AgentUsage{2, 1, 2, 2, 1, 6, StopReason::kCompleted};
    auto events = a_run();
    events.emplace_back(report);
    Answer answer(ToolDisplay::kEvents, true);
    answer.write(events);
    answer.writer.finish(answer.out);
    std::string const path = PARLEY_SOURCE_DIR "/tests/golden/tool_progress/events.sse";
    if (std::getenv("PARLEY_GOLDEN_UPDATE") != nullptr) std::ofstream(path) << answer.out;
    std::stringstream golden;
    golden << std::ifstream(path).rdbuf();
    EXPECT_EQ(answer.out, golden.str());
}

} // namespace
} // namespace parley::server

// The rounds of an agent with tools: what is run, what the model is told, what the client sees, and when it ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agents/run_fixture.hpp"

namespace parley::agents {
namespace {

using chat::FinishReason;
using chat::StopReason;
using core::Errc;
using testing::call;
using testing::calls_end;
using ::testing::ElementsAre;
using testing::end;
using testing::Events;
using testing::failure;
using testing::FakeToolHost;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Steps;
using testing::text;

class ToolLoopTest : public testing::RunFixture {
protected:
    void SetUp() override {
        say(chat::Role::kUser, R"({"role":"user","content":"hi"})", R"("hi")");
        add_server("fs", {"read", "write"});
        host_.set_answer("read", FakeToolHost::says("the file"));
        host_.set_answer("write", FakeToolHost::says("written"));
    }
    void client_tools(std::string const& name) {
        tools_ = R"([{"type":"function","function":{"name":")" + name + R"(","parameters":{}}}])";
    }
};

TEST_F(ToolLoopTest, RunsAToolAndTellsTheModelWhatCameOfIt) {
    auto const model = add({{text("Let me see. "), call(0, "c1", "fs__read", R"({\"path\":\"a\"})"), calls_end(10)},
                            {text("Done."), end(20)}});
    auto const outcome = run();
    EXPECT_FALSE(outcome.error);
    EXPECT_EQ(outcome.said, "Let me see. Done.");
    EXPECT_THAT(outcome.log, ElementsAre(R"(started c1 fs__read {"path":"a"})", "ended c1 fs__read the file"));
    EXPECT_EQ(outcome.finish, FinishReason::kStop);
    EXPECT_EQ(outcome.finishes, 1);
    ASSERT_EQ(host_.calls().size(), 1U);
    EXPECT_EQ(host_.calls()[0].tool, "read");
    EXPECT_EQ(host_.calls()[0].arguments, R"({"path":"a"})");
    EXPECT_EQ(host_.calls()[0].principal, "key:1");
    ASSERT_EQ(model->asked().size(), 2U);
    EXPECT_THAT(
        model->asked()[1].messages,
        ElementsAre(
            R"({"role":"user","content":"hi"})",
            R"({"role":"assistant","content":"Let me see. ","tool_calls":[{"id":"c1","type":"function","function":{"name":"fs__read","arguments":"{\"path\":\"a\"}"}}]})",
            R"({"role":"tool","tool_call_id":"c1","content":"the file"})"));
    EXPECT_THAT(model->asked()[0].tools, HasSubstr(R"("name":"fs__write")"));
    EXPECT_EQ(model->asked()[1].tools, model->asked()[0].tools);
    EXPECT_TRUE(outcome.tools_ran);
    EXPECT_EQ(outcome.attempts, 1U) << "a further round is no fallback";
    EXPECT_THAT(outcome.audit, ElementsAre("fs/read ok"));
}

TEST_F(ToolLoopTest, UsageIsSummedAndToldOnce) {
    add({{call(0, "c1", "fs__read"), calls_end(10)}, {text("x"), end(25)}});
    auto const outcome = run();
    EXPECT_EQ(outcome.usage_reports, 1);
    EXPECT_EQ(outcome.usage.prompt_tokens, 35);
    ASSERT_TRUE(outcome.agent);
    EXPECT_EQ(outcome.agent->llm_calls, 2);
    EXPECT_EQ(outcome.agent->tool_rounds, 1);
    EXPECT_EQ(outcome.agent->tool_calls_requested, 1);
    EXPECT_EQ(outcome.agent->tool_calls_executed, 1);
    EXPECT_EQ(outcome.agent->tool_calls_failed, 0);
    EXPECT_EQ(outcome.agent->last_prompt_tokens, 25);
    EXPECT_EQ(outcome.agent->stop_reason, StopReason::kCompleted);
    EXPECT_EQ(outcome.run_agent, outcome.agent);
}

TEST_F(ToolLoopTest, CallsOfOneRoundRunSideBySideUpToTheCap) {
    agent_.config.limits.parallel_tool_calls_max = 2;
    auto waiting = FakeToolHost::says("r");
    waiting.waits = true;
    host_.set_answer("read", waiting);
    add({{call(0, "a", "fs__read"), call(1, "b", "fs__read"), call(2, "c", "fs__read"), calls_end()},
         {text("x"), end()}});
    auto started = 0;
    on_event_ = [&](chat::RunEvent const& event) {
        if (std::holds_alternative<chat::ToolStarted>(event) && ++started == 2) host_.release();
    };
    auto const outcome = run();
    EXPECT_EQ(outcome.said, "x");
    EXPECT_EQ(host_.most_running(), 2);
    EXPECT_EQ(host_.calls().size(), 3U);
}

TEST_F(ToolLoopTest, ParallelToolCallsFalseMeansOneAfterTheOther) {
    settings_ = {{"parallel_tool_calls", "false"}};
    add({{call(0, "a", "fs__read"), call(1, "b", "fs__write"), calls_end()}, {text("x"), end()}});
    auto const outcome = run();
    EXPECT_EQ(host_.most_running(), 1);
    EXPECT_THAT(outcome.log, ElementsAre("started a fs__read {}", "ended a fs__read the file", "started b fs__write {}",
                                         "ended b fs__write written"));
}

TEST_F(ToolLoopTest, TheAgentCanForbidParallelCallsToo) {
    agent_.config.model_settings["parallel_tool_calls"] = false;
    add({{call(0, "a", "fs__read"), call(1, "b", "fs__write"), calls_end()}, {text("x"), end()}});
    run();
    EXPECT_EQ(host_.most_running(), 1);
}

TEST_F(ToolLoopTest, ProgressIsHandedUpBetweenStartAndEnd) {
    auto slow = FakeToolHost::says("r");
    slow.progress = {{0.5, 2.0, "half"}};
    host_.set_answer("read", slow);
    add({{call(0, "a", "fs__read"), calls_end()}, {text("x"), end()}});
    EXPECT_THAT(run().log, ElementsAre("started a fs__read {}", "progress a 0.5/2 half", "ended a fs__read r"));
}

TEST_F(ToolLoopTest, AFailingToolIsToldToTheModel) {
    auto failing = FakeToolHost::says("no such file");
    failing.result.is_error = true;
    host_.set_answer("read", failing);
    auto const model = add({{call(0, "a", "fs__read"), calls_end()}, {text("sorry"), end()}});
    auto const outcome = run();
    EXPECT_FALSE(outcome.error);
    EXPECT_THAT(model->asked()[1].messages.back(), HasSubstr("no such file"));
    EXPECT_EQ(outcome.agent->tool_calls_failed, 1);
    EXPECT_THAT(outcome.audit, ElementsAre("fs/read error"));
}

TEST_F(ToolLoopTest, UnknownToolsAndBadArgumentsAreToldAndCounted) {
    add_server("db", {"query"}, R"({"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]})");
    auto const model = add({{call(0, "a", "fs__delete"), call(1, "b", "fs__read", "{oops"), call(2, "c", "db__query"),
                             call(3, "d", "db__query", R"({\"n\":\"x\"})"), calls_end()},
                            {text("x"), end()}});
    auto const outcome = run();
    EXPECT_TRUE(host_.calls().empty());
    auto const& told = model->asked()[1].messages;
    ASSERT_EQ(told.size(), 6U);
    EXPECT_THAT(told[2], HasSubstr(R"(There is no tool \"fs__delete\")"));
    EXPECT_THAT(told[3], HasSubstr("not valid JSON"));
    EXPECT_THAT(told[4], HasSubstr("do not fit the tool's schema"));
    EXPECT_THAT(told[4], HasSubstr("'n'"));
    EXPECT_THAT(told[5], HasSubstr("- n: "));
    EXPECT_EQ(outcome.agent->tool_calls_requested, 4);
    EXPECT_EQ(outcome.agent->tool_calls_executed, 0);
    EXPECT_FALSE(outcome.tools_ran);
    EXPECT_THAT(outcome.audit, ElementsAre("/fs__delete unknown_tool", "fs/read invalid_arguments",
                                           "db/query invalid_arguments", "db/query invalid_arguments"));
}

TEST_F(ToolLoopTest, TheLastRoundAfterTooManyIsWithoutTools) {
    agent_.config.limits.max_tool_rounds = 2;
    auto const model = add({{call(0, "a", "fs__read"), calls_end()},
                            {call(0, "b", "fs__read"), calls_end()},
                            {text("That is all."), call(0, "c", "fs__read"), calls_end()}});
    auto const outcome = run();
    EXPECT_EQ(model->asked().size(), 3U);
    EXPECT_EQ(model->asked()[1].tool_choice, "");
    EXPECT_EQ(model->asked()[2].tool_choice, R"("none")");
    EXPECT_EQ(host_.calls().size(), 2U);
    EXPECT_EQ(outcome.said, "That is all.");
    EXPECT_EQ(outcome.finish, FinishReason::kStop);
    EXPECT_EQ(outcome.agent->stop_reason, StopReason::kMaxToolRounds);
}

TEST_F(ToolLoopTest, CallsBeyondTheLimitAreNotRun) {
    agent_.config.limits.max_tool_calls = 1;
    auto const model =
        add({{call(0, "a", "fs__read"), call(1, "b", "fs__write"), calls_end()}, {text("enough"), end()}});
    auto const outcome = run();
    ASSERT_EQ(host_.calls().size(), 1U);
    EXPECT_EQ(host_.calls()[0].tool, "read");
    EXPECT_THAT(model->asked()[1].messages.back(), HasSubstr("Not run"));
    EXPECT_EQ(model->asked()[1].tool_choice, R"("none")");
    EXPECT_EQ(outcome.agent->stop_reason, StopReason::kMaxToolCalls);
    EXPECT_EQ(outcome.agent->tool_calls_requested, 2);
}

TEST_F(ToolLoopTest, TokensAreALimitToo) {
    agent_.config.limits.max_total_tokens = 100;
    auto const model = add({{call(0, "a", "fs__read"), calls_end(100)}, {text("x"), end()}});
    EXPECT_EQ(run().agent->stop_reason, StopReason::kMaxTotalTokens);
    EXPECT_EQ(model->asked()[1].tool_choice, R"("none")");
    EXPECT_EQ(host_.calls().size(), 1U); // what was pending is run
}

TEST_F(ToolLoopTest, ToolsLeaveTimeForALastAnswer) {
    deadline_ = std::chrono::steady_clock::now() + std::chrono::hours(1);
    FakeToolHost::Answer late;
    late.error = failure(Errc::kDeadlineExceeded);
    host_.set_answer("read", late);
    auto const model = add({{call(0, "a", "fs__read"), calls_end()}, {text("so far"), end()}});
    auto const outcome = run();
    EXPECT_FALSE(outcome.error);
    EXPECT_EQ(outcome.said, "so far");
    EXPECT_EQ(outcome.agent->stop_reason, StopReason::kTimeout);
    EXPECT_EQ(model->asked()[1].tool_choice, R"("none")");
    EXPECT_EQ(deadline_ - host_.calls()[0].deadline, std::chrono::seconds(30));
    EXPECT_THAT(outcome.audit, ElementsAre("fs/read timeout"));
}

TEST_F(ToolLoopTest, NoToolBeginsWhenItsTimeIsUp) {
    deadline_ = std::chrono::steady_clock::now() + std::chrono::hours(1);
    add({{call(0, "a", "fs__read"), calls_end()}, {text("x"), end()}});
    // As if the first round had taken nearly all of the hour: the deadline of the tools is in the past.
    deadline_ = std::chrono::steady_clock::now() + std::chrono::nanoseconds(1);
    auto const outcome = run();
    ASSERT_TRUE(outcome.error);
    EXPECT_EQ(outcome.error->code, Errc::kDeadlineExceeded);
    EXPECT_TRUE(host_.calls().empty());
}

TEST_F(ToolLoopTest, OnlyClientToolsAreEmittedAndFinishToolCalls) {
    client_tools("mine");
    auto const model = add({{text("a"), call(0, "c1", "mine", R"({\"x\":1})"), call(1, "c2", "mine"), calls_end()}});
    auto const outcome = run();
    EXPECT_THAT(outcome.log, ElementsAre("call 0 c1 mine ", R"(call 0   {\"x\":1})", "call 1 c2 mine ", "call 1   {}"));
    EXPECT_EQ(outcome.finish, FinishReason::kToolCalls);
    EXPECT_EQ(outcome.agent->stop_reason, StopReason::kClientTools);
    EXPECT_EQ(outcome.agent->tool_calls_requested, 0);
    EXPECT_TRUE(host_.calls().empty());
    EXPECT_TRUE(parked_.empty());
    EXPECT_THAT(model->asked()[0].tools, HasSubstr(R"("name":"mine")"));
    EXPECT_THAT(model->asked()[0].tools, HasSubstr(R"("name":"fs__read")"));
}

TEST_F(ToolLoopTest, AMixedRoundIsParkedAndSplicedBack) {
    client_tools("mine");
    add({{call(0, "c1", "fs__read"), call(1, "c2", "mine"), calls_end()}});
    auto const first = run();
    EXPECT_THAT(first.log,
                ElementsAre("call 0 c2 mine ", "call 0   {}", "started c1 fs__read {}", "ended c1 fs__read the file"));
    EXPECT_EQ(first.finish, FinishReason::kToolCalls);
    EXPECT_FALSE(parked_.empty());

    auto const* const assistant =
        R"({"role":"assistant","content":null,"tool_calls":[{"id":"c2","type":"function","function":{"name":"mine","arguments":"{}"}}]})";
    auto const* const result = R"({"role":"tool","tool_call_id":"c2","content":"yes"})";
    say(chat::Role::kAssistant, assistant, "null");
    say(chat::Role::kTool, result, R"("yes")");
    agent_.candidates.clear();
    auto const model = add({{text("both"), end()}});
    auto const second = run();
    EXPECT_EQ(second.said, "both");
    auto const& asked = model->asked()[0].messages;
    ASSERT_EQ(asked.size(), 4U);
    EXPECT_THAT(asked[1], HasSubstr(R"("id":"c1")"));
    EXPECT_THAT(asked[1], HasSubstr(R"("id":"c2")"));
    EXPECT_EQ(asked[2], R"({"role":"tool","tool_call_id":"c1","content":"the file"})");
    EXPECT_EQ(asked[3], result);

    // The same history in another question's place is none of ours: replayed as it came.
    messages_[0] = {chat::Role::kUser, R"({"role":"user","content":"other"})", R"("other")", {}, true};
    agent_.candidates.clear();
    auto const other = add({{text("x"), end()}});
    run();
    EXPECT_THAT(other->asked()[0].messages, ElementsAre(R"({"role":"user","content":"other"})", assistant, result));
}

TEST_F(ToolLoopTest, RoundsBeforeAClientsCallAreSplicedBackToo) {
    client_tools("mine");
    add({{call(0, "c1", "fs__read"), calls_end()}, {call(0, "c2", "mine"), calls_end()}});
    run();
    say(chat::Role::kAssistant, R"({"role":"assistant","tool_calls":[{"id":"c2"}]})", "");
    say(chat::Role::kTool, R"({"role":"tool","tool_call_id":"c2","content":"yes"})", R"("yes")");
    agent_.candidates.clear();
    auto const model = add({{text("x"), end()}});
    run();
    ASSERT_EQ(model->asked()[0].messages.size(), 5U);
    EXPECT_THAT(model->asked()[0].messages[2], HasSubstr("the file"));
}

TEST_F(ToolLoopTest, AClientToolOfTheSameNameIsRefused) {
    client_tools("fs__read");
    auto const model = add({{text("x"), end()}});
    auto const outcome = run();
    ASSERT_TRUE(outcome.error);
    EXPECT_EQ(outcome.error->code, Errc::kToolNameConflict);
    EXPECT_EQ(outcome.error->param, "tools[0].function.name");
    EXPECT_EQ(model->starts(), 0);
}

TEST_F(ToolLoopTest, AForcedChoiceHoldsForTheFirstRoundOnly) {
    client_tools("mine");
    tool_choice_ = R"("required")";
    auto const model = add({{call(0, "a", "fs__read"), calls_end()}, {text("x"), end()}});
    run();
    EXPECT_EQ(model->asked()[0].tool_choice, R"("required")");
    EXPECT_EQ(model->asked()[1].tool_choice, R"("auto")");
}

TEST_F(ToolLoopTest, NoneLeavesOutTheClientsToolsNotTheAgents) {
    client_tools("mine");
    tool_choice_ = R"("none")";
    auto const model = add({{text("x"), end()}});
    run();
    EXPECT_EQ(model->asked()[0].tool_choice, "");
    EXPECT_THAT(model->asked()[0].tools, Not(HasSubstr("mine")));
    EXPECT_THAT(model->asked()[0].tools, HasSubstr("fs__read"));
}

TEST_F(ToolLoopTest, AllowedToolsNarrowTheClientsTools) {
    tools_ = R"([{"type":"function","function":{"name":"one"}},{"type":"function","function":{"name":"two"}}])";
    tool_choice_ =
        R"({"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"two"}}]}})";
    auto const model = add({{text("x"), end()}});
    run();
    EXPECT_THAT(model->asked()[0].tools, Not(HasSubstr(R"("one")")));
    EXPECT_THAT(model->asked()[0].tools, HasSubstr(R"("two")"));
    EXPECT_EQ(model->asked()[0].tool_choice, "");
}

TEST_F(ToolLoopTest, SeveralChoicesAndToolsDoNotGoTogether) {
    settings_ = {{"n", "2"}};
    add({{text("x"), end()}});
    auto const outcome = run();
    ASSERT_TRUE(outcome.error);
    EXPECT_EQ(outcome.error->code, Errc::kUnsupportedValue);
    EXPECT_EQ(outcome.error->param, "n");
    EXPECT_EQ(host_.asked_for_lists(), 0);
}

TEST_F(ToolLoopTest, SeveralChoicesLeaveOutToolsThatAreBuiltIn) {
    agent_.tools = std::make_shared<AgentTools const>();
    add_builtins();
    settings_ = {{"n", "2"}};
    auto const model = add({{text("x"), end()}});
    EXPECT_FALSE(run().error);
    EXPECT_EQ(model->asked()[0].tools, "");
}

TEST_F(ToolLoopTest, WithoutToolsMeansWithout) {
    without_tools_ = true;
    auto const model = add({{text("x"), end()}});
    EXPECT_FALSE(run().agent.has_value());
    EXPECT_EQ(model->asked()[0].tools, "");
    EXPECT_EQ(host_.asked_for_lists(), 0);
}

TEST_F(ToolLoopTest, AnAgentWhoseServersAreAllGoneStillAnswers) {
    agent_.tools = std::make_shared<AgentTools const>();
    add_server("fs", {});
    agent_.tools = std::make_shared<AgentTools const>(
        AgentTools{{{std::make_shared<mcp::ServerSpec const>(mcp::ServerSpec{"gone"})}},
                   {std::make_shared<mcp::ServerSpec const>(mcp::ServerSpec{"gone"})},
                   {}});
    client_tools("mine");
    auto const model = add({{text("x"), call(0, "c", "mine"), calls_end()}});
    auto const outcome = run();
    EXPECT_EQ(outcome.said, "x");
    EXPECT_EQ(model->asked()[0].tools, tools_);
    EXPECT_EQ(outcome.finish, FinishReason::kToolCalls);
    EXPECT_FALSE(outcome.agent.has_value());
}

TEST_F(ToolLoopTest, BuiltInToolsNeedNoServer) {
    agent_.tools = std::make_shared<AgentTools const>();
    add_builtins();
    auto const model =
        add({{call(0, "a", "add_two_numbers", R"({\"a\":2,\"b\":40})"), calls_end()}, {text("42"), end()}});
    auto const outcome = run();
    EXPECT_EQ(outcome.lines("ended"), "ended a add_two_numbers 42");
    EXPECT_EQ(host_.asked_for_lists(), 0);
    EXPECT_EQ(outcome.agent->tool_calls_executed, 1);
    EXPECT_FALSE(outcome.tools_ran); // nothing that must not be repeated
    EXPECT_THAT(model->asked()[1].messages.back(), HasSubstr("42"));
}

TEST_F(ToolLoopTest, RepeatedIdsAreMadeUnique) {
    auto const model = add({{call(0, "call_0", "fs__read"), calls_end()},
                            {call(0, "call_0", "fs__read"), calls_end()},
                            {text("x"), end()}});
    auto const outcome = run();
    EXPECT_EQ(outcome.lines("started"), "started call_0 fs__read {}|started call_0_2 fs__read {}");
    EXPECT_THAT(model->asked()[2].messages.back(), HasSubstr(R"("tool_call_id":"call_0_2")"));
}

TEST_F(ToolLoopTest, FallsBackPerRoundWhileNothingOfThatRoundWasShown) {
    add({{text("one "), call(0, "a", "fs__read"), calls_end()}, {failure(Errc::kUpstreamTruncated)}});
    auto const second = add({{text("two"), end()}});
    auto const outcome = run();
    EXPECT_FALSE(outcome.error);
    EXPECT_EQ(outcome.said, "one two");
    EXPECT_EQ(outcome.answered_by, "agent-p1");
    EXPECT_EQ(second->asked()[0].messages.size(), 3U);
    EXPECT_EQ(host_.calls().size(), 1U);
}

TEST_F(ToolLoopTest, SilentCallsOfABrokenAttemptAreForgotten) {
    add({{call(0, "a", "fs__read"), failure(Errc::kUpstreamTruncated)}});
    auto const second = add({{call(0, "b", "fs__write"), calls_end()}, {text("x"), end()}});
    auto const outcome = run();
    EXPECT_FALSE(outcome.error);
    ASSERT_EQ(host_.calls().size(), 1U);
    EXPECT_EQ(host_.calls()[0].tool, "write");
    EXPECT_EQ(second->starts(), 2);
}

TEST_F(ToolLoopTest, AfterAToolHasRunNobodyIsToRetry) {
    add({{call(0, "a", "fs__read"), calls_end()}, {failure(Errc::kUpstreamUnavailable)}});
    auto const outcome = run();
    ASSERT_TRUE(outcome.error);
    EXPECT_EQ(outcome.error->should_retry, false);
    EXPECT_TRUE(outcome.tools_ran);
}

TEST_F(ToolLoopTest, BeforeThatRetryingIsFine) {
    add({{failure(Errc::kUpstreamUnavailable)}});
    auto const outcome = run();
    ASSERT_TRUE(outcome.error);
    EXPECT_FALSE(outcome.error->should_retry.has_value());
}

TEST_F(ToolLoopTest, OnlyOneModelReportReachesTheClient) {
    testing::Step const report = Events{chat::ModelReport{"m-1"}};
    add({{report, text("a"), call(0, "a", "fs__read"), calls_end()}, {report, text("b"), end()}});
    EXPECT_EQ(run().lines("model"), "model m-1");
}

TEST_F(ToolLoopTest, AnswersThatWereCutRunNothing) {
    add({{text("a"), call(0, "a", "fs__read", "{"), end(1, FinishReason::kLength)}});
    auto const outcome = run();
    EXPECT_EQ(outcome.finish, FinishReason::kLength);
    EXPECT_TRUE(host_.calls().empty());
    EXPECT_TRUE(outcome.log.empty());
}

TEST_F(ToolLoopTest, ImagesAreShownOnlyToModelsThatSee) {
    auto picture = FakeToolHost::says("");
    picture.result.images = {{"image/png", "aGk="}};
    host_.set_answer("read", picture);
    auto const blind = add({{call(0, "a", "fs__read"), calls_end()}, {text("x"), end()}});
    run();
    EXPECT_THAT(blind->asked()[1].messages.back(), HasSubstr("cannot be shown here"));
    EXPECT_THAT(blind->asked()[1].messages.back(), Not(HasSubstr("aGk=")));

    agent_.config.vision = true;
    agent_.candidates.clear();
    auto const seeing = add({{call(0, "a", "fs__read"), calls_end()}, {text("x"), end()}});
    run();
    EXPECT_EQ(
        seeing->asked()[1].messages.back(),
        R"({"role":"user","content":[{"type":"text","text":"What the tool fs__read shows:"},{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}}]})");
}

TEST_F(ToolLoopTest, ReasoningGoesBackToTheModel) {
    testing::Step const thought = Events{chat::ReasoningDelta{"hm"}};
    testing::Step const detail = Events{
        chat::DeltaField{"reasoning_details", R"([{"type":"reasoning.text","text":"h","index":0}])"},
        chat::DeltaField{"reasoning_details", R"([{"type":"reasoning.text","text":"m","index":0,"signature":"s"}])"}};
    auto const plain = add({{thought, call(0, "a", "fs__read"), calls_end()}, {text("x"), end()}});
    run();
    EXPECT_THAT(plain->asked()[1].messages[1], HasSubstr(R"("reasoning_content":"hm")"));
    agent_.candidates.clear();
    auto const router = add({{thought, detail, call(0, "a", "fs__read"), calls_end()}, {text("x"), end()}});
    run();
    EXPECT_THAT(router->asked()[1].messages[1],
                HasSubstr(R"("reasoning_details":[{"type":"reasoning.text","text":"hm","index":0,"signature":"s"}])"));
}

TEST_F(ToolLoopTest, EncryptedReasoningIsForTheProviderOnly) {
    auto const* const item = R"([{"type":"reasoning","id":"r","summary":[],"encrypted_content":"e"}])";
    testing::Step const thought = Events{chat::DeltaField{"reasoning_items", item}};
    auto const model = add({{thought, call(0, "a", "fs__read"), calls_end()}, {text("x"), end()}});
    auto fields = 0;
    on_event_ = [&](chat::RunEvent const& event) { fields += std::holds_alternative<chat::DeltaField>(event); };
    run();
    EXPECT_EQ(fields, 0);
    EXPECT_THAT(model->asked()[1].messages[1], HasSubstr(std::string(R"("reasoning_items":)") + item));
}

TEST_F(ToolLoopTest, AHostThatIsShutDownEndsTheRun) {
    FakeToolHost::Answer gone;
    gone.error = failure(Errc::kCancelled);
    host_.set_answer("read", gone);
    add({{call(0, "a", "fs__read"), calls_end()}, {text("x"), end()}});
    auto const outcome = run();
    ASSERT_TRUE(outcome.error);
    EXPECT_EQ(outcome.error->code, Errc::kCancelled);
    EXPECT_EQ(outcome.lines("started").empty(), outcome.lines("ended").empty());
}

TEST_F(ToolLoopTest, FailingListsEndTheRun) {
    host_.fail_lists(failure(Errc::kDeadlineExceeded));
    auto const model = add({{text("x"), end()}});
    auto const outcome = run();
    ASSERT_TRUE(outcome.error);
    EXPECT_EQ(outcome.error->code, Errc::kDeadlineExceeded);
    EXPECT_EQ(model->starts(), 0);
}

// Wherever the client leaves, what was told as started is told as ended, nothing hangs and nothing is left running.
TEST_F(ToolLoopTest, CancelledAnywhereEveryStartHasItsEnd) {
    auto completed = false;
    auto cut = 0;
    for (auto steps = 0; steps < 200 && !completed; ++steps) {
        auto slow = FakeToolHost::says("r");
        slow.progress = {{1}, {2}};
        host_.set_answer("read", slow);
        agent_.candidates.clear();
        add({{text("a"), call(0, "a", "fs__read"), call(1, "b", "fs__write"), calls_end()},
             {call(0, "c", "fs__read"), calls_end()},
             {text("x"), end()}});
        cancel_after_steps_ = steps;
        auto const outcome = run();
        auto started = 0, ended = 0;
        for (auto const& line : outcome.log) {
            started += line.starts_with("started");
            ended += line.starts_with("ended");
        }
        EXPECT_EQ(started, ended) << steps;
        EXPECT_EQ(host_.running(), 0) << steps;
        EXPECT_EQ(outcome.audit.size(), static_cast<std::size_t>(started)) << steps;
        completed = !outcome.error;
        if (outcome.error) {
            EXPECT_EQ(outcome.error->code, Errc::kCancelled) << steps;
            ++cut;
        }
    }
    EXPECT_TRUE(completed);
    EXPECT_GT(cut, 10);
}

// A gateway that stops reading (its client's socket is dead) destroys the run as it stands.
TEST_F(ToolLoopTest, ARunThatIsGivenUpLeavesNothingRunning) {
    auto waiting = FakeToolHost::says("r");
    waiting.waits = true;
    for (auto batches = 1; batches < 4; ++batches) {
        host_.set_answer("read", waiting);
        agent_.candidates.clear();
        add({{text("a"), call(0, "a", "fs__read"), call(1, "b", "fs__write"), calls_end()}, {text("x"), end()}});
        give_up_after_ = batches;
        auto const outcome = run();
        EXPECT_EQ(host_.running(), 0) << batches;
        EXPECT_FALSE(outcome.error) << batches;
    }
    EXPECT_GT(host_.cancelled(), 0);
}

TEST_F(ToolLoopTest, AnUnchangedListIsNotPreparedAgain) {
    add({{text("x"), end()}});
    run();
    run();
    EXPECT_EQ(services_.sets.builds(), 1U);
    add_server("more", {"t"});
    run();
    EXPECT_EQ(services_.sets.builds(), 2U);
}

} // namespace
} // namespace parley::agents

// What a model is shown of stored turns, what is stored of an answer, and how it is told again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

#include "agents/answer_record.hpp"
#include "agents/conversation_turn.hpp"
#include "agents/given_answer.hpp"
#include "agents/model_history.hpp"

namespace parley::agents {
namespace {

using memory::StoredTurn;
using memory::TurnKind;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

StoredTurn turn(TurnKind kind, std::string messages) {
    StoredTurn out;
    out.kind = kind;
    out.messages = std::move(messages);
    return out;
}

std::vector<std::string> shown(ModelHistory const& history) {
    std::vector<std::string> out;
    for (auto const& message : history.messages())
        out.emplace_back(message.json);
    return out;
}

TEST(ModelHistory, StoredTurnsComeAsTheyWereSaid) {
    ModelHistory history;
    history.add_stored(turn(TurnKind::kInput, R"([{"content":"Hé \" <b>","role":"user","name":"ann"}])"), false);
    history.add_stored(turn(TurnKind::kAnswer, R"([{"role":"assistant","content":"Four."}])"), false);
    EXPECT_THAT(shown(history), ElementsAre(R"({"role":"user","name":"ann","content":"Hé \" <b>"})",
                                            R"({"role":"assistant","content":"Four."})"));
    auto const& first = history.messages().front();
    EXPECT_EQ(first.role, chat::Role::kUser);
    EXPECT_EQ(first.content, R"("Hé \" <b>")");
    EXPECT_EQ(first.role_json, R"("user")");
}

TEST(ModelHistory, ThoughtsStayBehindUnlessTheyAreWanted) {
    auto const answer = turn(TurnKind::kAnswer,
                             R"([{"role":"assistant","content":"<think>hm</think>Four.","reasoning_content":"hm"}])");
    ModelHistory without;
    without.add_stored(answer, false);
    EXPECT_THAT(shown(without), ElementsAre(R"({"role":"assistant","content":"Four."})"));
    ModelHistory with;
    with.add_stored(answer, true);
    EXPECT_THAT(shown(with), ElementsAre(R"({"role":"assistant","reasoning_content":"hm","content":"Four."})"));
}

TEST(ModelHistory, AnAnswerOfWhichNothingIsLeftIsLeftOut) {
    ModelHistory history;
    history.add_stored(turn(TurnKind::kAnswer, R"([{"role":"assistant","content":"<think>hm</think>"}])"), false);
    history.add_stored(turn(TurnKind::kAnswer, "[]"), false);
    history.add_stored(turn(TurnKind::kAnswer, "not JSON"), false);
    EXPECT_THAT(shown(history), IsEmpty());
}

TEST(ModelHistory, CallsThatNobodyAnsweredAreClosed) {
    ModelHistory history;
    history.add_stored(turn(TurnKind::kAnswer, R"([{"role":"assistant","content":null,"tool_calls":[{"id":"a"},
        {"id":"b"}]},{"role":"tool","tool_call_id":"a","content":"1"}])"),
                       false);
    history.close_calls();
    history.close_calls();
    ASSERT_EQ(history.messages().size(), 3U);
    EXPECT_EQ(history.messages()[2].json,
              R"x({"role":"tool","tool_call_id":"b","content":"(The client did not run this tool.)"})x");
}

TEST(ModelHistory, AwaitedCallsAreThoseWithoutResult) {
    std::vector const turns{
        turn(TurnKind::kAnswer, R"([{"role":"assistant","tool_calls":[{"id":"a"},{"id":"b"},{"id":"c"}]},
                                    {"role":"tool","tool_call_id":"a","content":"1"}])"),
        turn(TurnKind::kToolResult, R"([{"role":"tool","tool_call_id":"c","content":"3"}])")};
    EXPECT_THAT(awaited_calls(turns), ElementsAre("b"));
}

TEST(AnswerRecord, HoldsTheEndBackAndKnowsWhatWasSaid) {
    AnswerRecord record;
    std::vector<chat::RunEvent> events{chat::ModelReport{"gpt"},
                                       chat::TextDelta{"H\\u00e9 "},
                                       chat::TextDelta{"other", {}, 1},
                                       chat::TextDelta{"you"},
                                       chat::ChoiceEnd{chat::FinishReason::kLength},
                                       chat::UsageReport{{.prompt_tokens = 5, .completion_tokens = 2}}};
    record.take(events, 0);
    EXPECT_EQ(events.size(), 4U) << "the end and the usage are held back";
    EXPECT_EQ(record.text(), "Hé you");
    EXPECT_EQ(record.model(), "gpt");
    EXPECT_EQ(record.finish(), "length");
    EXPECT_EQ(record.usage().prompt_tokens, 5);
    ASSERT_EQ(record.messages().size(), 1U);
    EXPECT_EQ(record.messages()[0].json, R"({"role":"assistant","content":"H\u00e9 you"})");
    events.clear();
    record.release(events);
    ASSERT_EQ(events.size(), 2U);
    EXPECT_TRUE(std::holds_alternative<chat::ChoiceEnd>(events[0]));
    EXPECT_TRUE(std::holds_alternative<chat::UsageReport>(events[1]));
}

TEST(AnswerRecord, JoinsTheCallsOfTheClientsTools) {
    AnswerRecord record;
    std::vector<chat::RunEvent> events{
        chat::ToolCallDelta{0, "c0", "weather", R"({\"city\":)"}, chat::ToolCallDelta{1, "c1", "time", "{}"},
        chat::ToolCallDelta{0, {}, {}, R"(\"Oslo\"})"}, chat::ChoiceEnd{chat::FinishReason::kToolCalls}};
    record.take(events, 0);
    EXPECT_EQ(events.size(), 3U);
    EXPECT_EQ(record.calls(), R"([{"id":"c0","function":{"name":"weather"}},{"id":"c1","function":{"name":"time"}}])");
    EXPECT_THAT(record.messages()[0].json, ::testing::HasSubstr(R"("arguments":"{\"city\":\"Oslo\"}")"));
}

TEST(AnswerRecord, NothingSaidIsNoMessage) {
    EXPECT_THAT(AnswerRecord().messages(), IsEmpty());
    EXPECT_EQ(AnswerRecord().calls(), "");
}

TEST(GivenAnswer, TellsAgainWhatWasTold) {
    auto answer = turn(TurnKind::kAnswer, R"([
        {"role":"assistant","content":"I add. ","tool_calls":[{"id":"a","function":{"name":"add","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"a","content":"5"},
        {"role":"assistant","content":"\"5\"","tool_calls":[{"id":"w","function":{"name":"weather","arguments":"{}"}}]}])");
    answer.finish = "tool_calls";
    answer.model = "gpt";
    answer.prompt_tokens = 7;
    auto const given = given_answer(answer);
    ASSERT_EQ(given.events.size(), 8U);
    EXPECT_EQ(std::get<chat::ModelReport>(given.events[0]).model, "gpt");
    EXPECT_EQ(std::get<chat::TextDelta>(given.events[1]).body, "I add. ");
    EXPECT_EQ(std::get<chat::ToolStarted>(given.events[2]).name, "add");
    EXPECT_EQ(std::get<chat::ToolEnded>(given.events[3]).result, "5");
    EXPECT_EQ(std::get<chat::TextDelta>(given.events[4]).body, "\\\"5\\\"");
    EXPECT_EQ(std::get<chat::ToolCallDelta>(given.events[5]).id, "w");
    EXPECT_EQ(std::get<chat::ChoiceEnd>(given.events[6]).reason, chat::FinishReason::kToolCalls);
    EXPECT_EQ(std::get<chat::UsageReport>(given.events[7]).usage.prompt_tokens, 7);
}

TEST(HasMemory, UnlessTheAgentSaysNo) {
    AgentConfig agent;
    EXPECT_TRUE(has_memory(agent));
    agent.resources = std::vector<std::string>{"knowledge_base"};
    EXPECT_FALSE(has_memory(agent));
    agent.resources->emplace_back("memory");
    EXPECT_TRUE(has_memory(agent));
}

} // namespace
} // namespace parley::agents

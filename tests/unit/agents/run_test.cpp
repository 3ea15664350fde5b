// When a run turns to a fallback, and when it must not.
#include "agents/run.hpp"

#include <gtest/gtest.h>

#include "tests/unit/agents/run_fixture.hpp"

namespace parley::agents {
namespace {

using core::Errc;
using testing::end;
using testing::failure;
using testing::Steps;
using testing::text;

class RunTest : public testing::RunFixture {
protected:
    std::shared_ptr<testing::FakeProvider> add(Steps steps, std::vector<core::Error> refusals = {}) {
        return testing::RunFixture::add(std::vector<Steps>{std::move(steps)}, std::move(refusals));
    }
};

TEST_F(RunTest, HandsUpWhatTheModelSays) {
    add({text("Hel"), text("lo"), end(7)});
    auto const outcome = run();
    EXPECT_EQ(outcome.said, "Hello");
    EXPECT_EQ(outcome.usage.prompt_tokens, 7);
    EXPECT_EQ(outcome.attempts, 1U);
    EXPECT_FALSE(outcome.error);
}

TEST_F(RunTest, FallsBackWhenTheFirstRefuses) {
    add({}, {failure(Errc::kUpstreamUnavailable)});
    add({text("second"), end(3)});
    auto const outcome = run();
    EXPECT_EQ(outcome.said, "second");
    EXPECT_EQ(outcome.answered_by, "agent-p1");
    EXPECT_EQ(outcome.attempts, 2U);
}

TEST_F(RunTest, FallsBackWhenTheStreamFailsBeforeItsFirstEvent) {
    add({failure(Errc::kUpstreamTruncated)});
    add({text("second"), end(3)});
    EXPECT_EQ(run().said, "second");
}

TEST_F(RunTest, DoesNotFallBackOnceTheClientHasSeenSomething) {
    add({text("partial"), failure(Errc::kUpstreamTruncated)});
    auto const second = add({text("second"), end(3)});
    auto const outcome = run();
    EXPECT_EQ(outcome.said, "partial");
    ASSERT_TRUE(outcome.error);
    EXPECT_EQ(outcome.error->code, Errc::kUpstreamTruncated);
    EXPECT_EQ(second->starts(), 0);
}

TEST_F(RunTest, DoesNotFallBackForTheClientsOwnFault) {
    add({}, {failure(Errc::kContextLengthExceeded)});
    auto const second = add({text("second"), end(3)});
    auto const outcome = run();
    ASSERT_TRUE(outcome.error);
    EXPECT_EQ(outcome.error->code, Errc::kContextLengthExceeded);
    EXPECT_EQ(second->starts(), 0);
}

TEST_F(RunTest, TellsTheLastErrorWhenNobodyAnswers) {
    add({}, {failure(Errc::kUpstreamUnavailable)});
    add({}, {failure(Errc::kUpstreamTimeout)});
    auto const outcome = run();
    ASSERT_TRUE(outcome.error);
    EXPECT_EQ(outcome.error->code, Errc::kUpstreamTimeout);
    EXPECT_EQ(outcome.attempts, 2U);
}

TEST_F(RunTest, WithoutToolsTheHostIsNotTouchedAndTheEventsAreTheModelsOwn) {
    add({text("x"), end(3)});
    auto const outcome = run();
    EXPECT_EQ(host_.asked_for_lists(), 0);
    EXPECT_EQ(outcome.usage_reports, 1);
    EXPECT_FALSE(outcome.agent.has_value());
    EXPECT_FALSE(outcome.run_agent.has_value());
    EXPECT_FALSE(outcome.tools_ran);
}

TEST(ClientTools, FollowTheAgentsPolicy) {
    AgentConfig agent;
    chat::Turn turn;
    turn.tools = "[{}]";
    turn.tool_choice = "\"auto\"";
    EXPECT_TRUE(apply_client_tools(agent, turn));
    EXPECT_EQ(turn.tools, "[{}]");
    agent.client_tools = ClientTools::kReject;
    auto const refused = apply_client_tools(agent, turn);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().param, "tools");
    agent.client_tools = ClientTools::kIgnore;
    EXPECT_TRUE(apply_client_tools(agent, turn));
    EXPECT_TRUE(turn.tools.empty() && turn.tool_choice.empty());
}

} // namespace
} // namespace parley::agents

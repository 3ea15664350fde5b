// When a run turns to a fallback, and when it must not.
#include "agents/run.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "providers/session.hpp"
#include "tests/fakes/fake_provider.hpp"

namespace parley::agents {
namespace {

using core::Errc;
using fakes::FakeProvider;
using Step = FakeProvider::Step;
using Events = std::vector<chat::RunEvent>;

Step text(std::string_view body) {
    return Events{chat::TextDelta{body}};
}
Step end(std::int64_t tokens) {
    return Events{chat::ChoiceEnd{chat::FinishReason::kStop}, chat::UsageReport{{tokens, 1}}};
}
core::Error failure(Errc code) {
    return core::make_error(code, "failed");
}

class RunTest : public ::testing::Test {
protected:
    std::shared_ptr<FakeProvider> add(std::vector<Step> steps, std::vector<core::Error> refusals = {}) {
        auto const name = "p" + std::to_string(agent_.candidates.size());
        auto provider = std::make_shared<FakeProvider>(name, std::move(steps), std::move(refusals));
        agent_.candidates.push_back({"agent-" + name, "model", provider, provider->prepare({})});
        return provider;
    }

    struct Outcome {
        std::string said;
        std::optional<core::Error> error;
        chat::Usage usage;
        std::size_t attempts = 0;
        std::string answered_by;
    };

    Outcome run() {
        net::Loop loop({core::LogLevel::kError, core::LogFormat::kText, 2, false, false});
        boost::asio::thread_pool pool(1);
        providers::Session session(loop, pool);
        Outcome outcome;
        auto done = [&loop](std::exception_ptr) { loop.stop(); };
        boost::asio::co_spawn(loop.context(), drive(session, outcome), done);
        loop.run();
        return outcome;
    }

    Agent agent_;

private:
    core::Awaitable<void> drive(providers::Session& session, Outcome& outcome) {
        core::Cancellation cancellation;
        core::Context const context{cancellation};
        agents::Run run(session, context, agent_, {});
        auto more = true;
        while (more) {
            Events events;
            auto const next = co_await run.next(events);
            for (auto const& event : events) {
                if (auto const* const delta = std::get_if<chat::TextDelta>(&event)) outcome.said += delta->body;
            }
            if (!next) outcome.error = next.error();
            more = next && *next;
        }
        outcome.usage = run.usage();
        outcome.attempts = run.attempts();
        outcome.answered_by = run.answered_by().agent_id;
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

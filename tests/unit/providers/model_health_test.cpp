#include "providers/model_health.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "core/result.hpp"

namespace parley::providers {
namespace {

using namespace std::chrono_literals;
using Pass = CircuitBreaker::Pass;
using State = CircuitBreaker::State;

core::SteadyTime const kStart{1'000'000s};

core::Error error(core::Errc code, std::optional<std::chrono::milliseconds> retry_after = {}) {
    auto made = core::make_error(code, "failed");
    made.upstream_status = 500;
    made.retry_after = retry_after;
    return made;
}

void fail(CircuitBreaker& breaker, int times, core::SteadyTime now) {
    for (int i = 0; i < times; ++i)
        breaker.failed(now);
}

TEST(CircuitBreaker, OpensAfterFailuresInARowOnly) {
    CircuitBreaker breaker;
    for (int round = 0; round < 3; ++round) {
        fail(breaker, CircuitBreaker::kFailuresMax - 1, kStart);
        EXPECT_EQ(breaker.take(kStart), Pass::kFree);
        breaker.succeeded();
    }
    fail(breaker, CircuitBreaker::kFailuresMax, kStart);
    EXPECT_EQ(breaker.state(), State::kOpen);
    EXPECT_EQ(breaker.take(kStart), Pass::kShut);
}

TEST(CircuitBreaker, LetsOneProbeThroughSoonAndClosesWhenItSucceeds) {
    CircuitBreaker breaker;
    fail(breaker, CircuitBreaker::kFailuresMax, kStart);
    EXPECT_EQ(breaker.take(kStart + CircuitBreaker::kFirstProbe), Pass::kProbe);
    EXPECT_EQ(breaker.take(kStart + CircuitBreaker::kFirstProbe), Pass::kShut) << "one at a time";
    breaker.succeeded();
    EXPECT_EQ(breaker.state(), State::kClosed);
    EXPECT_EQ(breaker.take(kStart + CircuitBreaker::kFirstProbe), Pass::kFree);
}

TEST(CircuitBreaker, ProbesAtLeastOnceASecondHoweverLongItIsDown) {
    CircuitBreaker breaker;
    fail(breaker, CircuitBreaker::kFailuresMax, kStart);
    auto now = kStart;
    for (int i = 0; i < 100; ++i) {
        now += CircuitBreaker::kProbeEvery;
        ASSERT_EQ(breaker.take(now), Pass::kProbe) << i;
        breaker.failed(now);
    }
}

TEST(CircuitBreaker, AProbeWithoutVerdictIsReplaced) {
    CircuitBreaker breaker;
    fail(breaker, CircuitBreaker::kFailuresMax, kStart);
    auto const now = kStart + 1s;
    ASSERT_EQ(breaker.take(now), Pass::kProbe);
    EXPECT_EQ(breaker.take(now + CircuitBreaker::kProbeTime), Pass::kProbe) << "it hangs";
    breaker.give_back(now + 11s);
    EXPECT_EQ(breaker.take(now + 11s), Pass::kProbe) << "its client left";
}

TEST(CircuitBreaker, RestsAsLongAsItWasAskedToAndProbesMeanwhile) {
    CircuitBreaker breaker;
    breaker.failed(kStart);
    breaker.rest(kStart, 30s);
    EXPECT_EQ(breaker.state(), State::kResting);
    EXPECT_EQ(breaker.look(kStart + 500ms), Pass::kShut);
    EXPECT_EQ(breaker.take(kStart + 1s), Pass::kProbe);
    breaker.failed(kStart + 1s);
    EXPECT_EQ(breaker.look(kStart + 1500ms), Pass::kShut) << "a failed probe is no reason to wait longer than a second";
    EXPECT_EQ(breaker.look(kStart + 2s), Pass::kProbe);
    EXPECT_EQ(breaker.take(kStart + 30s), Pass::kFree);
    EXPECT_EQ(breaker.state(), State::kClosed);
}

TEST(CircuitBreaker, AShortRestIsNotMadeLonger) {
    CircuitBreaker breaker;
    breaker.rest(kStart, 20ms);
    EXPECT_EQ(breaker.look(kStart + 19ms), Pass::kShut);
    EXPECT_EQ(breaker.look(kStart + 20ms), Pass::kFree);
}

TEST(CircuitBreaker, OneProbeAmongThreads) {
    for (int round = 0; round < 200; ++round) {
        CircuitBreaker breaker;
        fail(breaker, CircuitBreaker::kFailuresMax, kStart);
        std::atomic<int> probes{0};
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i)
            threads.emplace_back([&] { probes += breaker.take(kStart + 1s) == Pass::kProbe ? 1 : 0; });
        for (auto& thread : threads)
            thread.join();
        ASSERT_EQ(probes, 1);
    }
}

TEST(RetryBudget, IsSpentAndEarnedByTenths) {
    RetryBudget budget;
    for (int i = 0; i < RetryBudget::kMax; ++i)
        EXPECT_TRUE(budget.take());
    EXPECT_FALSE(budget.take());
    for (int i = 0; i < 9; ++i)
        budget.earn();
    EXPECT_FALSE(budget.take());
    budget.earn();
    EXPECT_TRUE(budget.take());
    for (int i = 0; i < 10'000; ++i)
        budget.earn();
    EXPECT_DOUBLE_EQ(budget.left(), RetryBudget::kMax);
}

// ---- several endpoints

struct Endpoints : ::testing::Test {
    std::shared_ptr<ModelHealth> of(std::vector<double> const& weights) {
        return std::make_shared<ModelHealth>(weights);
    }
};

TEST_F(Endpoints, ShareTheLoadByWeight) {
    auto const health = of({3, 1});
    std::vector<ModelHealth::Call> calls;
    std::vector<int> count(2);
    for (int i = 0; i < 400; ++i)
        ++count[calls.emplace_back(health, kStart).endpoint()];
    EXPECT_EQ(count, (std::vector<int>{300, 100}));
    calls.clear();
    EXPECT_EQ(health->view(0, kStart).in_flight, 0);
}

TEST_F(Endpoints, TheNextAttemptGoesElsewhere) {
    for (auto const code : {core::Errc::kUpstreamFailed, core::Errc::kUpstreamAuth, core::Errc::kRateLimited}) {
        auto const health = of({1, 1});
        auto const first = [&] {
            ModelHealth::Call call(health, kStart);
            call.failed(error(code), kStart);
            return call.endpoint();
        }();
        EXPECT_TRUE(health->has_another(kStart, kStart));
        ModelHealth::Call other(health, kStart + 1ms);
        EXPECT_NE(other.endpoint(), first);
        other.failed(error(code), kStart + 1ms);
        EXPECT_FALSE(health->has_another(kStart, kStart + 1ms));
        EXPECT_TRUE(health->has_another(kStart + 2ms, kStart + 2ms)) << "for the next request";
        EXPECT_EQ(ModelHealth::Call(health, kStart + 2ms).endpoint(), first) << "it failed longer ago";
    }
}

TEST_F(Endpoints, AFailureIsForgottenAfterASecond) {
    auto const health = of({1000, 1});
    {
        ModelHealth::Call call(health, kStart);
        call.failed(error(core::Errc::kUpstreamFailed), kStart);
    }
    EXPECT_EQ(ModelHealth::Call(health, kStart + 999ms).endpoint(), 1U);
    EXPECT_EQ(ModelHealth::Call(health, kStart + 1s).endpoint(), 0U) << "or it would never be asked again";
}

TEST_F(Endpoints, ARestingOneIsLeftAlone) {
    auto const health = of({1000, 1});
    {
        ModelHealth::Call call(health, kStart);
        ASSERT_EQ(call.endpoint(), 0U);
        call.failed(error(core::Errc::kRateLimited, 20s), kStart);
    }
    EXPECT_EQ(ModelHealth::Call(health, kStart + 10ms).endpoint(), 1U);
    EXPECT_EQ(health->view(0, kStart + 5s).rests_for, 15s);
    EXPECT_EQ(health->view(0, kStart).state, State::kResting);
    EXPECT_TRUE(health->ready(kStart));
}

TEST_F(Endpoints, TheOnlyOneIsAlwaysChosen) {
    auto const health = of({1});
    for (int i = 0; i < 20; ++i) {
        ModelHealth::Call call(health, kStart);
        EXPECT_EQ(call.endpoint(), 0U);
        call.failed(error(core::Errc::kUpstreamUnavailable), kStart);
    }
    EXPECT_FALSE(health->ready(kStart));
    EXPECT_TRUE(health->ready(kStart + 1s));
}

TEST_F(Endpoints, ARequestAtFaultIsASignOfLife) {
    auto const health = of({1});
    for (int i = 0; i < 4; ++i)
        ModelHealth::Call(health, kStart).failed(error(core::Errc::kUpstreamFailed), kStart);
    ModelHealth::Call(health, kStart).failed(error(core::Errc::kUpstreamRejected), kStart);
    EXPECT_EQ(health->view(0, kStart).failures, 0);
    for (int i = 0; i < 20; ++i)
        ModelHealth::Call(health, kStart).failed(error(core::Errc::kCancelled), kStart);
    EXPECT_EQ(health->view(0, kStart).failures, 0) << "a client that leaves says nothing of the provider";
}

TEST_F(Endpoints, ACutInMidStreamDoesNotOpenIt) {
    auto const health = of({1});
    for (int i = 0; i < 20; ++i) {
        ModelHealth::Call call(health, kStart);
        call.succeeded();
        call.failed(error(core::Errc::kUpstreamTruncated), kStart);
    }
    EXPECT_EQ(health->view(0, kStart).state, State::kClosed);
}

TEST_F(Endpoints, AProbeWhoseClientLeftIsGivenBack) {
    auto const health = of({1});
    auto const now = std::chrono::steady_clock::now(); // the clock that the end of a call looks at
    for (int i = 0; i < 5; ++i)
        ModelHealth::Call(health, now - 1h).failed(error(core::Errc::kUpstreamFailed), now - 1h);
    {
        ModelHealth::Call const probe(health, now);
        EXPECT_FALSE(health->ready(now + 1s));
    }
    EXPECT_TRUE(health->ready(now + 1s));
}

} // namespace
} // namespace parley::providers

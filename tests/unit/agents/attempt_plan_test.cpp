#include "agents/attempt_plan.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/fakes/fake_provider.hpp"

namespace parley::agents {
namespace {

using namespace std::chrono_literals;
using Kind = AttemptPlan::Kind;
using core::Errc;
using fakes::FakeProvider;
using providers::ModelHealth;

core::SteadyTime const kNow{1'000'000s};
core::SteadyTime const kDeadline = kNow + 600s;

core::Error error(Errc code, std::optional<std::chrono::milliseconds> retry_after = {}) {
    auto made = core::make_error(code, "failed");
    made.retry_after = retry_after;
    return made;
}

struct AttemptPlanTest : ::testing::Test {
    std::shared_ptr<ModelHealth> add(std::size_t endpoints = 1, int max_retries = 2) {
        auto provider = std::make_shared<FakeProvider>("p", FakeProvider::Steps{});
        auto health = std::make_shared<ModelHealth>(std::vector<double>(endpoints, 1.0));
        provider->can_fail(health, max_retries);
        candidates.push_back({"a", "m", provider, provider->prepare({})});
        healths.push_back(health);
        return health;
    }
    static void open(std::shared_ptr<ModelHealth> const& health, core::SteadyTime now = kNow) {
        for (int i = 0; i < 5; ++i)
            ModelHealth::Call(health, now).failed(error(Errc::kUpstreamFailed), now);
    }

    // What is done until the client is told: the candidates in order, r = after a pause.
    std::string trace(AttemptPlan& plan, core::Error const& failure, core::SteadyTime now = kNow) {
        plan.begin(now);
        auto out = std::to_string(plan.candidate());
        for (;; now += 1us) {
            if (is_noted) ModelHealth::Call(healths[plan.candidate()], now).failed(failure, now);
            auto const step = plan.after(failure, now, kDeadline);
            if (!step) return out;
            if (step->kind == Kind::kRetry) out += 'r';
            if (step->kind == Kind::kEndpoint) out += 'e';
            out += std::to_string(plan.candidate());
            now += step->pause;
        }
    }

    std::vector<Candidate> candidates;
    std::vector<std::shared_ptr<ModelHealth>> healths;
    bool is_noted = false; // failures are written down, as a provider does
};

TEST_F(AttemptPlanTest, OneModelIsAskedAgainAfterPauses) {
    add();
    AttemptPlan plan(candidates);
    EXPECT_EQ(trace(plan, error(Errc::kUpstreamFailed)), "0r0r0");
    EXPECT_EQ(trace(plan, error(Errc::kUpstreamTimeout)), "0") << "it has cost its time already";
    EXPECT_EQ(trace(plan, error(Errc::kUpstreamAuth)), "0") << "it would only be refused again";
    EXPECT_EQ(trace(plan, error(Errc::kContentFilter)), "0") << "the request is at fault";
}

TEST_F(AttemptPlanTest, PausesGrowAndDiffer) {
    add(1, 10);
    AttemptPlan plan(candidates);
    plan.begin(kNow);
    std::chrono::milliseconds most = AttemptPlan::kFirstPause;
    for (int i = 0; i < 4; ++i, most *= 2) {
        auto const step = plan.after(error(Errc::kUpstreamFailed), kNow + 7us * i, kDeadline);
        ASSERT_TRUE(step);
        EXPECT_GE(step->pause, most / 2);
        EXPECT_LE(step->pause, most);
    }
}

TEST_F(AttemptPlanTest, FallbacksComeBeforePauses) {
    add();
    add();
    add();
    AttemptPlan plan(candidates);
    EXPECT_EQ(trace(plan, error(Errc::kUpstreamUnavailable)), "012r012r012");
    EXPECT_EQ(trace(plan, error(Errc::kUpstreamAuth)), "201") << "begins where the last call ended; each is asked once";
}

TEST_F(AttemptPlanTest, OtherEndpointsComeBeforeFallbacks) {
    add(3);
    add();
    is_noted = true;
    AttemptPlan plan(candidates);
    EXPECT_EQ(trace(plan, error(Errc::kRateLimited)), "0e0e01r0e0e01r0e0e01");
}

TEST_F(AttemptPlanTest, AnOpenCircuitIsAskedLastAndNotAgain) {
    open(add());
    add();
    AttemptPlan plan(candidates);
    EXPECT_EQ(trace(plan, error(Errc::kUpstreamAuth)), "10") << "nobody is told no before all were asked";
    open(add());
    AttemptPlan other(candidates);
    EXPECT_EQ(trace(other, error(Errc::kUpstreamFailed)).substr(0, 5), "102r1")
        << "retried without those that are open";
}

TEST_F(AttemptPlanTest, TheOnlyModelIsAskedHoweverLongItIsDown) {
    auto const health = add();
    AttemptPlan plan(candidates);
    open(health);
    EXPECT_EQ(trace(plan, error(Errc::kUpstreamUnavailable)), "0") << "asked, without retries";
}

TEST_F(AttemptPlanTest, AShortRetryAfterIsWaitedForALongOneIsTheClients) {
    add();
    AttemptPlan plan(candidates);
    plan.begin(kNow);
    auto const step = plan.after(error(Errc::kRateLimited, 1500ms), kNow, kDeadline);
    ASSERT_TRUE(step);
    EXPECT_EQ(step->pause, 1500ms);
    plan.begin(kNow);
    EXPECT_FALSE(plan.after(error(Errc::kRateLimited, 20s), kNow, kDeadline));
}

TEST_F(AttemptPlanTest, NoRetryBeyondTheDeadline) {
    add();
    AttemptPlan plan(candidates);
    plan.begin(kNow);
    EXPECT_FALSE(plan.after(error(Errc::kUpstreamFailed), kNow, kNow + 20ms));
}

TEST_F(AttemptPlanTest, TheBudgetEnds) {
    auto const health = add();
    int retries = 0;
    for (int request = 0; request < 100; ++request) {
        AttemptPlan plan(candidates);
        plan.begin(kNow);
        while (plan.after(error(Errc::kUpstreamFailed), kNow, kDeadline))
            ++retries;
    }
    EXPECT_EQ(retries, providers::RetryBudget::kMax) << "a hundred failing requests are not made three hundred";
}

TEST_F(AttemptPlanTest, WithoutRetriesThereAreStillFallbacks) {
    add(1, 0);
    add(1, 0);
    AttemptPlan plan(candidates);
    EXPECT_EQ(trace(plan, error(Errc::kUpstreamFailed)), "01");
}

} // namespace
} // namespace parley::agents

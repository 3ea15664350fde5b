// Keys, what they may use, and the log of what was done about them, over each store.
#include "policy/key_store.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "policy/key_book.hpp"
#include "policy/usage_limits.hpp"
#include "tests/unit/storage/store_fixture.hpp"

namespace parley::policy {
namespace {

using namespace std::chrono_literals;
using storage::Database;
using storage::testing::Bench;
using storage::testing::kEachStore;
using storage::testing::kStoreName;

class KeyStoreTest : public storage::testing::StoreFixture {
protected:
    KeyStore keys(Database& database) {
        return KeyStore(database, [this] { return now_; }, "cli:test", unique_);
    }
    UsageLimits limits(Database& database) {
        return UsageLimits(database, [this] { return now_; }, unique_);
    }
    KeyStore::Made create(KeyRecord wanted = {}) {
        auto made = bench_->wait([&](Database& database, core::Context const& context) -> core::Task<KeyStore::Made> {
            auto store = keys(database);
            co_return co_await store.create(context, wanted);
        });
        EXPECT_TRUE(made) << made.error().message << made.error().detail;
        return std::move(*made);
    }
    std::vector<KeyRecord> list() {
        auto all =
            bench_->wait([&](Database& database, core::Context const& context) -> core::Task<std::vector<KeyRecord>> {
                auto store = keys(database);
                co_return co_await store.list(context);
            });
        EXPECT_TRUE(all);
        return all ? *all : std::vector<KeyRecord>();
    }
    core::Result<KeyStore::Made> rotate(std::string const& id, std::chrono::milliseconds overlap) {
        return bench_->wait([&](Database& database, core::Context const& context) -> core::Task<KeyStore::Made> {
            auto store = keys(database);
            co_return co_await store.rotate(context, id, overlap);
        });
    }
    core::Result<> revoke(std::string const& id) {
        return bench_->wait([&](Database& database, core::Context const& context) -> core::Task<> {
            auto store = keys(database);
            co_return co_await store.revoke(context, id);
        });
    }
    core::Result<Reservation> reserve(KeyRecord const& key, Amount wanted, std::string const& id) {
        return bench_->wait([&](Database& database, core::Context const& context) -> core::Task<Reservation> {
            auto all = limits(database);
            co_return co_await all.reserve(context, key, wanted, unique_ + id, &view_);
        });
    }
    void settle(Reservation const& reservation, Amount used) {
        auto const done = bench_->wait([&](Database& database, core::Context const& context) -> core::Task<> {
            auto all = limits(database);
            co_return co_await all.settle(context, reservation, used);
        });
        EXPECT_TRUE(done);
    }
    UsageLimits::Usage usage(KeyRecord const& key) {
        auto found =
            bench_->wait([&](Database& database, core::Context const& context) -> core::Task<UsageLimits::Usage> {
                auto all = limits(database);
                co_return co_await all.usage(context, key);
            });
        EXPECT_TRUE(found);
        return found ? *found : UsageLimits::Usage{};
    }
    AuditLog::Verdict verify() {
        auto found =
            bench_->wait([&](Database& database, core::Context const& context) -> core::Task<AuditLog::Verdict> {
                AuditLog log(database, unique_);
                co_return co_await log.verify(context);
            });
        EXPECT_TRUE(found);
        return found ? *found : AuditLog::Verdict{};
    }
    static KeyRecord limited(KeyLimits limits) {
        KeyRecord key;
        key.name = "limited";
        key.limits = limits;
        return key;
    }

    RateLimitView view_; // of the last reservation, also when it was refused
    std::int64_t now_ = 1'800'000'000'000;
};

TEST_P(KeyStoreTest, AKeyIsToldOnceAndKnownByItsDigest) {
    KeyRecord wanted;
    wanted.name = "team a";
    wanted.agents = {"demo", "team-*"};
    wanted.routes = {"chat"};
    wanted.limits = {60, 1000, 5000, 2'500'000, Period::kMonth};
    wanted.expires_ms = now_ + 1000;
    auto const made = create(wanted);
    EXPECT_TRUE(made.key.reveal().starts_with("sk-parley-" + made.record.id.substr(2)));
    auto const all = list();
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].digest, core::sha256(made.key.reveal()));
    EXPECT_EQ(all[0].agents, wanted.agents);
    EXPECT_EQ(all[0].limits.budget_period, Period::kMonth);
    EXPECT_EQ(all[0].limits.budget_cost, 2'500'000);

    KeyBook const book(all);
    auto const* const found = book.find(made.key.reveal(), now_);
    ASSERT_TRUE(found);
    EXPECT_EQ(book.of_principal(found->principal()), found);
    EXPECT_TRUE(found->may_use_agent("team-x") && !found->may_use_agent("other"));
    EXPECT_TRUE(found->may_use_route("chat") && !found->may_use_route("models"));
    EXPECT_FALSE(book.find(made.key.reveal(), now_ + 1000)) << "expired";
    EXPECT_FALSE(book.find(made.key.reveal() + "x", now_));
    EXPECT_FALSE(book.find(made.key.reveal().substr(0, 20), now_)) << "the whole key counts (CVE-2026-35030)";
}

TEST_P(KeyStoreTest, ARotationOverlaps) {
    auto const made = create();
    auto const next = rotate(made.record.id, 10min);
    ASSERT_TRUE(next);
    KeyBook const book(list());
    EXPECT_TRUE(book.find(next->key.reveal(), now_));
    auto const* const old = book.find(made.key.reveal(), now_);
    ASSERT_TRUE(old);
    EXPECT_EQ(old->principal(), next->record.principal()) << "its conversations stay its own";
    EXPECT_FALSE(book.find(made.key.reveal(), now_ + 600'000));
    EXPECT_TRUE(book.find(next->key.reveal(), now_ + 600'000));
}

TEST_P(KeyStoreTest, ARevokedKeyIsGoneAtOnceAndForGood) {
    auto const made = create();
    ASSERT_TRUE(rotate(made.record.id, 10min));
    ASSERT_TRUE(revoke(made.record.id));
    KeyBook const book(list());
    EXPECT_FALSE(book.find(made.key.reveal(), now_));
    EXPECT_EQ(revoke(made.record.id).error().code, core::Errc::kInvalidValue);
    EXPECT_EQ(rotate(made.record.id, 0ms).error().code, core::Errc::kInvalidValue);
    EXPECT_EQ(rotate("k_nobody", 0ms).error().code, core::Errc::kInvalidValue);
}

TEST_P(KeyStoreTest, EachChangeHasItsOwnVersionAndEntry) {
    auto const version = [&] {
        auto found = bench_->wait([&](Database& database, core::Context const& context) -> core::Task<std::int64_t> {
            auto store = keys(database);
            co_return co_await store.version(context);
        });
        return found.value();
    };
    EXPECT_EQ(version(), 0);
    auto const made = create();
    auto const first = version();
    ASSERT_TRUE(rotate(made.record.id, 0ms));
    auto const second = version();
    ASSERT_TRUE(revoke(made.record.id));
    EXPECT_TRUE(0 < first && first < second && second < version());
    auto const verdict = verify();
    EXPECT_EQ(verdict.problem, "");
    EXPECT_EQ(verdict.entries, 3);
}

TEST_P(KeyStoreTest, ManyAtOnceKeepTheChainWhole) {
    auto const other_store = open();
    Bench other(*other_store);
    std::vector<Bench::Work> works;
    std::atomic<int> made = 0;
    for (int i = 0; i < 6; ++i) {
        works.push_back([this, &made](Database& database, core::Context const& context) -> core::Awaitable<void> {
            auto store = keys(database);
            auto const one = co_await store.create(context, KeyRecord());
            made += one ? 1 : 0;
        });
    }
    std::thread beside([&] { other.run(works); });
    bench_->run(works);
    beside.join();
    EXPECT_EQ(made, 12);
    EXPECT_EQ(list().size(), 12U);
    auto const verdict = verify();
    EXPECT_EQ(verdict.problem, "");
    EXPECT_EQ(verdict.entries, 12);
    other_store->close();
}

TEST_P(KeyStoreTest, WhatWasDoneToTheLogShows) {
    for (int i = 0; i < 3; ++i)
        create();
    auto const change = [&](std::string const& sql) { return bench_->write({{sql, {unique_}}}).has_value(); };
    ASSERT_TRUE(change("UPDATE audit SET detail = 'name=evil' WHERE tenant = $1 AND seq = 2"));
    EXPECT_EQ(verify().problem, "entry 2 was changed");
    EXPECT_EQ(verify().entries, 1);
    ASSERT_TRUE(change("DELETE FROM audit WHERE tenant = $1 AND seq = 2"));
    EXPECT_EQ(verify().problem, "entry 2 is missing");
    ASSERT_TRUE(change("UPDATE audit SET seq = 2 WHERE tenant = $1 AND seq = 3"));
    EXPECT_EQ(verify().problem, "entry 2 does not follow the one before it");
}

// ---- limits

TEST_P(KeyStoreTest, RequestsOfAMinute) {
    auto const key = limited({.requests_per_minute = 2});
    auto const first = reserve(key, {}, "a");
    ASSERT_TRUE(first) << first.error().message << first.error().detail;
    EXPECT_EQ(view_.limit_requests, 2);
    EXPECT_EQ(view_.remaining_requests, 1);
    ASSERT_TRUE(reserve(key, {}, "b"));
    auto const third = reserve(key, {}, "c");
    ASSERT_FALSE(third);
    EXPECT_EQ(third.error().code, core::Errc::kRateLimited);
    EXPECT_EQ(view_.remaining_requests, 0);
    EXPECT_EQ(third.error().retry_after, std::chrono::milliseconds(60'000 - now_ % 60'000));
    now_ += third.error().retry_after->count();
    EXPECT_TRUE(reserve(key, {}, "d"));
}

TEST_P(KeyStoreTest, ALaggingClockOpensNoSecondWindow) {
    auto const key = limited({.requests_per_minute = 2});
    ASSERT_TRUE(reserve(key, {}, "a"));
    now_ -= 60'000;
    ASSERT_TRUE(reserve(key, {}, "b"));
    EXPECT_FALSE(reserve(key, {}, "c"));
    now_ += 60'000;
    EXPECT_FALSE(reserve(key, {}, "d"));
}

// Another gateway has opened the minute already when one reserves whose clock is two seconds behind.
TEST_P(KeyStoreTest, ALaggingClockSettlesInTheMinuteThatItCountedInto) {
    auto const key = limited({.tokens_per_minute = 100});
    auto const turn = (now_ / 60'000 + 1) * 60'000;
    now_ = turn + 1'000;
    auto const ahead = reserve(key, {20, 0}, "a");
    ASSERT_TRUE(ahead);
    settle(*ahead, {10, 0});
    now_ = turn - 1'000;
    auto const behind = reserve(key, {60, 0}, "b");
    ASSERT_TRUE(behind);
    EXPECT_EQ(view_.remaining_tokens, 30);
    now_ = turn + 1'000;
    settle(*behind, {5, 0});
    auto const rest = reserve(key, {85, 0}, "c");
    ASSERT_TRUE(rest) << rest.error().message;
    EXPECT_EQ(view_.remaining_tokens, 0);
}

TEST_P(KeyStoreTest, WhatWasSetAsideBeforeTheMinuteTurnedIsNoPartOfTheNextOne) {
    auto const key = limited({.tokens_per_minute = 100});
    auto const turn = (now_ / 60'000 + 1) * 60'000;
    now_ = turn - 1'000;
    auto const before = reserve(key, {60, 0}, "a");
    ASSERT_TRUE(before);
    now_ = turn + 1'000;
    auto const after = reserve(key, {30, 0}, "b");
    ASSERT_TRUE(after);
    settle(*before, {5, 0});
    EXPECT_FALSE(reserve(key, {71, 0}, "c"));
    EXPECT_TRUE(reserve(key, {70, 0}, "d"));
}

TEST_P(KeyStoreTest, TokensAreSetAsideAndSettled) {
    auto const key = limited({.tokens_per_minute = 100});
    auto const first = reserve(key, {80, 0}, "a");
    ASSERT_TRUE(first);
    EXPECT_EQ(reserve(key, {30, 0}, "b").error().code, core::Errc::kRateLimited);
    settle(*first, {10, 0});
    settle(*first, {10, 0}); // a batch may be run twice
    auto const second = reserve(key, {90, 0}, "c");
    ASSERT_TRUE(second) << second.error().message;
    EXPECT_EQ(view_.remaining_tokens, 0);
    auto const never = reserve(key, {101, 0}, "d");
    EXPECT_EQ(never.error().should_retry, false) << "waiting does not help";
}

TEST_P(KeyStoreTest, BudgetsOfAPeriod) {
    auto key = limited({.budget_tokens = 100, .budget_cost = 50, .budget_period = Period::kDay});
    auto const first = reserve(key, {60, 50}, "a");
    ASSERT_TRUE(first);
    auto const more = reserve(key, {1, 1}, "b");
    ASSERT_FALSE(more);
    EXPECT_EQ(more.error().code, core::Errc::kInsufficientQuota);
    EXPECT_EQ(more.error().should_retry, false);
    settle(*first, {70, 20});
    EXPECT_EQ(usage(key).spent_tokens, 70);
    EXPECT_EQ(usage(key).spent_cost, 20);
    EXPECT_FALSE(reserve(key, {31, 0}, "c"));
    EXPECT_TRUE(reserve(key, {30, 30}, "d"));
    now_ += 86'400'000;
    EXPECT_EQ(usage(key).spent_tokens, 0);
    EXPECT_TRUE(reserve(key, {100, 50}, "e"));
}

// The same at midnight, for what is spent of a budget.
TEST_P(KeyStoreTest, ALaggingClockSettlesInTheDayThatItCountedInto) {
    auto const key = limited({.budget_tokens = 100, .budget_cost = 50, .budget_period = Period::kDay});
    auto const midnight = (now_ / 86'400'000 + 1) * 86'400'000;
    now_ = midnight + 1'000;
    auto const ahead = reserve(key, {20, 10}, "a");
    ASSERT_TRUE(ahead);
    settle(*ahead, {10, 5});
    now_ = midnight - 1'000;
    auto const behind = reserve(key, {60, 40}, "b");
    ASSERT_TRUE(behind);
    now_ = midnight + 1'000;
    EXPECT_EQ(usage(key).spent_tokens, 70);
    EXPECT_EQ(usage(key).spent_cost, 45);
    settle(*behind, {5, 4});
    settle(*behind, {5, 4}); // a batch may be run twice
    EXPECT_EQ(usage(key).spent_tokens, 15);
    EXPECT_EQ(usage(key).spent_cost, 9);
}

TEST_P(KeyStoreTest, WhatWasSetAsideBeforeMidnightIsNoPartOfTheNextDay) {
    auto const key = limited({.budget_tokens = 100, .budget_cost = 50, .budget_period = Period::kDay});
    auto const midnight = (now_ / 86'400'000 + 1) * 86'400'000;
    now_ = midnight - 1'000;
    auto const before = reserve(key, {60, 40}, "a");
    ASSERT_TRUE(before);
    now_ = midnight + 1'000;
    auto const after = reserve(key, {20, 10}, "b");
    ASSERT_TRUE(after);
    settle(*before, {5, 4});
    EXPECT_EQ(usage(key).spent_tokens, 20);
    EXPECT_EQ(usage(key).spent_cost, 10);
    settle(*after, {10, 5});
    EXPECT_EQ(usage(key).spent_tokens, 10);
    EXPECT_EQ(usage(key).spent_cost, 5);
}

TEST_P(KeyStoreTest, AReservationThatIsRunTwiceIsCountedOnce) {
    auto const key = limited({.budget_tokens = 100});
    ASSERT_TRUE(reserve(key, {60, 0}, "a"));
    EXPECT_TRUE(reserve(key, {60, 0}, "a")) << "the same request, after a lost connection";
    EXPECT_EQ(usage(key).spent_tokens, 60);
}

// The promise of the whole: two processes' stores, 64 at once, room for ten.
TEST_P(KeyStoreTest, ExactlyTenOfSixtyFour) {
    auto const key = limited({.budget_tokens = 100});
    auto const other_store = open();
    Bench other(*other_store);
    std::atomic<int> granted = 0;
    auto const ask = [&](Bench& bench, std::string const& prefix) {
        std::vector<Bench::Work> works;
        for (int i = 0; i < 32; ++i) {
            auto const id = unique_ + prefix + std::to_string(i);
            works.push_back(
                [this, &granted, &key, id](Database& database, core::Context const& context) -> core::Awaitable<void> {
                    Amount const ten{10, 0};
                    auto all = limits(database);
                    auto const one = co_await all.reserve(context, key, ten, id);
                    granted += one ? 1 : 0;
                });
        }
        bench.run(works);
    };
    std::thread beside([&] { ask(other, "other"); });
    ask(*bench_, "one");
    beside.join();
    EXPECT_EQ(granted, 10);
    EXPECT_EQ(usage(key).spent_tokens, 100);
    other_store->close();
}

INSTANTIATE_TEST_SUITE_P(Stores, KeyStoreTest, kEachStore, kStoreName);

TEST(UsageLimits, Periods) {
    EXPECT_EQ(period_number(Period::kTotal, 1'800'000'000'000), 0);
    EXPECT_EQ(period_number(Period::kDay, 86'400'000), 1);
    EXPECT_EQ(period_number(Period::kMonth, 0), 0);
    EXPECT_EQ(period_number(Period::kMonth, 31LL * 86'400'000), 1);
    EXPECT_EQ(period_number(Period::kMonth, 31LL * 86'400'000 - 1), 0);
}

} // namespace
} // namespace parley::policy

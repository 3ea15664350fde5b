// The same behaviour over SQLite, Postgres and Postgres behind PgBouncer: one suite, real servers
// (tests/with_postgres.py).
#include "storage/store.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <limits>
#include <thread>

#include "tests/unit/storage/store_fixture.hpp"

namespace parley::storage {
namespace {

using core::Errc;
using testing::Bench;
using testing::kEachStore;
using testing::kStoreName;

class StoreTest : public testing::StoreFixture {
protected:
    void SetUp() override {
        StoreFixture::SetUp();
        ASSERT_TRUE(bench_);
        auto const made = bench_->write({{"CREATE TABLE " + table() + " (k TEXT PRIMARY KEY, n BIGINT, b BYTEA)"}});
        ASSERT_TRUE(made) << made.error().detail;
    }

    std::string const& table() const { return unique_; }
    Statement insert(std::string key, std::int64_t number, Value blob = {}) const {
        return {"INSERT INTO " + table() + " (k, n, b) VALUES ($1, $2, $3)", {std::move(key), number, std::move(blob)}};
    }
    Statement count() const { return {"SELECT count(*) FROM " + table()}; }
    std::int64_t rows() {
        auto const out = bench_->read({count()});
        return out ? integer(out->at(0).rows.at(0).at(0)) : -1;
    }
};

INSTANTIATE_TEST_SUITE_P(Each, StoreTest, kEachStore, kStoreName);

TEST_P(StoreTest, KeepsEveryKindOfValue) {
    auto const all_bytes = [] {
        std::string out;
        for (auto i = 0; i < 256; ++i)
            out.push_back(static_cast<char>(i));
        return out;
    }();
    auto const least = std::numeric_limits<std::int64_t>::min();
    ASSERT_TRUE(bench_->write({insert("Hé 😀\n", least, Blob{all_bytes}),
                               insert("", 0, Blob{}),
                               {"INSERT INTO " + table() + " (k, n) VALUES ($1, $2)", {"nothing", std::monostate{}}}}));
    auto const out = bench_->read({{"SELECT k, n, b FROM " + table() + " ORDER BY k"}});
    ASSERT_TRUE(out) << out.error().detail;
    auto const& found = out->at(0).rows;
    ASSERT_EQ(found.size(), 3U);
    EXPECT_EQ(found[0], (std::vector<Value>{std::string(), std::int64_t{0}, Blob{}}));
    EXPECT_EQ(found[1], (std::vector<Value>{std::string("Hé 😀\n"), least, Blob{all_bytes}}));
    EXPECT_EQ(found[2], (std::vector<Value>{std::string("nothing"), std::monostate{}, std::monostate{}}));
}

TEST_P(StoreTest, ABatchIsAllOrNothing) {
    ASSERT_TRUE(bench_->write({insert("a", 1)}));
    auto const failed = bench_->write({insert("b", 2), insert("a", 3)});
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, Errc::kInternal);
    EXPECT_EQ(rows(), 1);
}

TEST_P(StoreTest, BatchesOfOneMomentFailAlone) {
    auto good = 0;
    std::vector<Bench::Work> works;
    for (auto i = 0; i < 40; ++i) {
        works.push_back([&, i](Database& database, core::Context const& context) -> core::Awaitable<void> {
            auto const key = i % 4 == 0 ? std::string("same") : "k" + std::to_string(i);
            Batch batch{insert(key, i)};
            auto const written = co_await database.write(context, std::move(batch));
            good += written ? 1 : 0;
        });
    }
    bench_->run(std::move(works));
    EXPECT_EQ(good, 31) << "one of the ten that have the same key";
    EXPECT_EQ(rows(), 31);
}

TEST_P(StoreTest, TellsWhatChanged) {
    auto const sql = "INSERT INTO " + table() + " (k, n) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING n";
    auto const first = bench_->write({{sql, {"a", std::int64_t{5}}}});
    ASSERT_TRUE(first) << first.error().detail;
    EXPECT_EQ(first->at(0).changed, 1);
    EXPECT_EQ(integer(first->at(0).rows.at(0).at(0)), 5);
    auto const again = bench_->write({{sql, {"a", std::int64_t{6}}}, {"UPDATE " + table() + " SET n = 9"}, count()});
    ASSERT_TRUE(again) << again.error().detail;
    EXPECT_EQ(again->at(0).changed, 0);
    EXPECT_TRUE(again->at(0).rows.empty());
    EXPECT_EQ(again->at(1).changed, 1);
    EXPECT_EQ(integer(again->at(2).rows.at(0).at(0)), 1);
}

// The way in which a conversation's head is moved: of two that saw the same one, one wins.
TEST_P(StoreTest, ComparesBeforeItSets) {
    ASSERT_TRUE(bench_->write({insert("head", 0)}));
    auto const move = [&](std::int64_t from, std::int64_t to) -> Batch {
        return {{"UPDATE " + table() + " SET n = $2 WHERE k = 'head' AND n = $1", {from, to}},
                {"INSERT INTO " + table() + " (k, n) SELECT $1, $2 FROM " + table() +
                     " WHERE k = 'head' AND n = $2 ON CONFLICT DO NOTHING",
                 {"turn" + std::to_string(to), to}}};
    };
    auto won = 0;
    std::vector<Bench::Work> works;
    for (auto i = 1; i <= 8; ++i) {
        works.push_back([&, i](Database& database, core::Context const& context) -> core::Awaitable<void> {
            auto const moved = co_await database.write(context, move(0, i));
            EXPECT_TRUE(moved) << moved.error().detail;
            won += moved && moved->at(1).changed == 1 ? 1 : 0;
        });
    }
    bench_->run(std::move(works));
    EXPECT_EQ(won, 1);
    EXPECT_EQ(rows(), 2);
    auto const twice = bench_->write(move(0, 1));
    EXPECT_TRUE(twice) << "a batch that is run again changes nothing";
    EXPECT_EQ(rows(), 2);
}

// A server may forget the names under which it keeps our statements.
TEST_P(StoreTest, StatementsAreForgottenAndGoOn) {
    if (GetParam() == "sqlite") GTEST_SKIP() << "it has no names";
    std::vector<Bench::Work> works;
    for (auto i = 0; i < 200; ++i) {
        works.push_back([&, i](Database& database, core::Context const& context) -> core::Awaitable<void> {
            auto const key = std::to_string(i);
            Batch batch{insert(key, i), {"SELECT n FROM " + table() + " WHERE k = $1", {key}}};
            if (i % 20 == 7) batch.push_back({"DEALLOCATE ALL"});
            auto const written = co_await database.write(context, std::move(batch));
            EXPECT_TRUE(written) << written.error().detail;
            EXPECT_TRUE(!written || integer(written->at(1).rows.at(0).at(0)) == i) << "each gets its own answer";
        });
    }
    for (auto from = works.begin(); from != works.end(); from += 20) // in ten moments
        bench_->run({from, from + 20});
    EXPECT_EQ(rows(), 200);
}

TEST_P(StoreTest, ThousandsAtOnceFromSeveralLoops) {
    constexpr auto kEach = 1'000;
    std::vector<std::thread> threads;
    for (auto t = 0; t < 3; ++t) {
        threads.emplace_back([&, t] {
            Bench bench(*store_);
            std::vector<Bench::Work> works;
            for (auto i = 0; i < kEach; ++i) {
                works.push_back([&, t, i](Database& database, core::Context const& context) -> core::Awaitable<void> {
                    auto const key = std::to_string(t) + "." + std::to_string(i);
                    Batch batch{insert(key, i, Blob{std::string(200, 'x')})};
                    batch[0].sql += " ON CONFLICT DO NOTHING"; // a pool may cut the connection over it
                    auto const written = co_await database.write(context, std::move(batch));
                    EXPECT_TRUE(written) << written.error().detail;
                    Batch question{{"SELECT n FROM " + table() + " WHERE k = $1", {key}}};
                    auto const found = co_await database.read(context, std::move(question));
                    EXPECT_TRUE(found && found->at(0).rows.size() == 1) << "what was written is seen at once";
                });
            }
            bench.run(std::move(works));
        });
    }
    for (auto& thread : threads)
        thread.join();
    EXPECT_EQ(rows(), 3 * kEach);
}

TEST_P(StoreTest, WrongSqlIsOursAndDoesNotBreakTheRest) {
    auto const failed = bench_->write({{"INSERT INTO no_such_table VALUES (1)"}});
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, Errc::kInternal);
    EXPECT_NE(failed.error().detail, "");
    auto const read = bench_->read({{"SELEKT"}});
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, Errc::kInternal);
    EXPECT_TRUE(bench_->write({insert("a", 1)}));
    EXPECT_EQ(rows(), 1);
}

TEST_P(StoreTest, ManyStatementsAndBigOnes) {
    Batch batch;
    for (auto i = 0; i < 500; ++i)
        batch.push_back(insert("k" + std::to_string(i), i));
    batch.push_back(insert("big", 0, Blob{std::string(8 << 20, 'x')}));
    ASSERT_TRUE(bench_->write(std::move(batch)));
    EXPECT_EQ(rows(), 501);
    auto const big = bench_->read({{"SELECT b FROM " + table() + " WHERE k = 'big'"}});
    ASSERT_TRUE(big);
    EXPECT_EQ(bytes(big->at(0).rows.at(0).at(0)).size(), std::size_t{8} << 20);
}

TEST_P(StoreTest, TheContextEndsTheWait) {
    bench_->cancellation.cancel();
    EXPECT_EQ(bench_->read({count()}).error().code, Errc::kCancelled);
    EXPECT_EQ(bench_->write({insert("a", 1)}).error().code, Errc::kCancelled);
}

TEST_P(StoreTest, WhatWasWrittenIsThereWhenItIsOpenedAgain) {
    ASSERT_TRUE(bench_->write({insert("a", 1)}));
    auto const state = store_->state();
    EXPECT_TRUE(state.ready) << state.reason;
    EXPECT_GE(state.schema_version, 1);
    EXPECT_EQ(state.name.find("secret"), std::string::npos);
    auto const second = open();
    ASSERT_TRUE(second);
    Bench bench(*second);
    auto const out = bench.read({count()});
    ASSERT_TRUE(out);
    EXPECT_EQ(integer(out->at(0).rows.at(0).at(0)), 1);
    EXPECT_TRUE(bench.write({insert("b", 2)})) << "two at once on the same store";
    EXPECT_EQ(rows(), 2);
    second->close();
}

TEST_P(StoreTest, TheTablesOfConversationsAreThere) {
    for (auto const* const table : {"conversations", "turns"})
        EXPECT_TRUE(bench_->read({{std::string("SELECT count(*) FROM ") + table}})) << table;
}

// ---- Postgres alone

class PostgresStoreTest : public StoreTest {};
INSTANTIATE_TEST_SUITE_P(Each, PostgresStoreTest, ::testing::Values("postgres", "pgbouncer"), kStoreName);

TEST_P(PostgresStoreTest, ALostConnectionIsMadeAgain) {
    ASSERT_TRUE(bench_->write({insert("a", 1)}));
    Statement const kill_others{
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"};
    for (auto i = 0; i < 5; ++i) {
        ASSERT_TRUE(bench_->read({kill_others}));
        auto const written = bench_->write({insert("k" + std::to_string(i), i)});
        EXPECT_TRUE(written) << written.error().detail;
        auto const there = bench_->read({count()});
        EXPECT_TRUE(there) << there.error().detail;
    }
    EXPECT_EQ(rows(), 6);
}

TEST_P(PostgresStoreTest, NobodyWaitsForADatabaseThatIsAway) {
    auto opened = open_postgres({core::Secret("postgresql://parley:secret@127.0.0.1:9/none")});
    ASSERT_TRUE(opened) << "the gateway starts without it";
    EXPECT_FALSE((*opened)->state().ready);
    EXPECT_EQ((*opened)->state().name, "parley@127.0.0.1:9/none");
    EXPECT_EQ((*opened)->state().reason.find("secret"), std::string::npos);
    Bench bench(**opened);
    for (auto i = 0; i < 3; ++i) {
        auto const began = std::chrono::steady_clock::now();
        auto const failed = bench.read({{"SELECT 1"}});
        ASSERT_FALSE(failed);
        EXPECT_EQ(failed.error().code, Errc::kStoreUnavailable);
        EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(i == 0 ? 2'000 : 500));
    }
    (*opened)->close();
}

TEST_P(PostgresStoreTest, AConnectionStringThatIsNoneIsRefusedWithoutRepeatingIt) {
    auto const opened = open_postgres({core::Secret("postgresql://u:secret@[half")});
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, Errc::kInvalidValue);
    EXPECT_EQ(opened.error().message.find("secret"), std::string::npos);
}

// ---- SQLite alone

class SqliteStoreTest : public StoreTest {};
INSTANTIATE_TEST_SUITE_P(Each, SqliteStoreTest, ::testing::Values("sqlite"), kStoreName);

// A fault of the disk rolls back all that was to be committed together; OR ROLLBACK does so without one.
TEST_P(SqliteStoreTest, NothingIsWrittenOfWhatWasRolledBackWithAnother) {
    auto told = 0;
    std::vector<Bench::Work> works;
    for (auto i = 0; i < 40; ++i) {
        works.push_back([&, i](Database& database, core::Context const& context) -> core::Awaitable<void> {
            Batch batch{i % 4 == 0 ? Statement{"INSERT OR ROLLBACK INTO " + table() + " (k, n) VALUES ('same', 1)"}
                                   : insert("k" + std::to_string(i), i)};
            auto const written = co_await database.write(context, std::move(batch));
            told += written ? 1 : 0;
        });
    }
    bench_->run(std::move(works));
    EXPECT_EQ(rows(), told) << "what was told to have failed is not there";
    EXPECT_LT(told, 31) << "none was rolled back with another: this shows nothing";
    EXPECT_TRUE(bench_->write({insert("after", 1)}));
}

TEST_P(SqliteStoreTest, ANewerSchemaIsRefused) {
    store_->close();
    {
        auto again = open_sqlite(path());
        ASSERT_TRUE(again);
        Bench bench(**again);
        ASSERT_TRUE(bench.write({{"PRAGMA user_version=99"}}));
        (*again)->close();
    }
    auto const refused = open_sqlite(path());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::kInvalidValue);
    EXPECT_NE(refused.error().message.find("newer Parley"), std::string::npos) << refused.error().message;
}

TEST_P(SqliteStoreTest, AFileThatIsNoDatabaseIsNamed) {
    auto const path = (folder_ / "other").string();
    {
        auto* const file = std::fopen(path.c_str(), "w");
        ASSERT_NE(file, nullptr);
        std::fputs("this is a letter to grandmother, and no database at all, which is why it is longer", file);
        std::fclose(file);
    }
    auto const refused = open_sqlite(path);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find(path), std::string::npos);
    EXPECT_NE(refused.error().message.find("not a database"), std::string::npos) << refused.error().message;
}

} // namespace
} // namespace parley::storage

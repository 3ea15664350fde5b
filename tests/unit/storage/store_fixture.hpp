// A store of each kind for tests of this room and of those above: a file that goes away, or the real server of
// tests/with_postgres.py.
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include "storage/store.hpp"
#include "storage/waiting.hpp"

namespace parley::storage::testing {

/// A loop on this thread, and the face of the store for it.
class Bench {
public:
    explicit Bench(Store& store) : database_(store.face(loop_)) {}

    using Work = std::function<core::Awaitable<void>(Database&, core::Context const&)>;

    /// Runs all side by side until each has ended.
    void run(std::vector<Work> works) {
        core::Context const context{cancellation};
        auto left = works.size();
        for (auto& work : works) {
            auto ended = [this, &left](std::exception_ptr failure) {
                EXPECT_FALSE(failure);
                if (--left == 0) loop_.stop();
            };
            boost::asio::co_spawn(loop_.context(), work(*database_, context), std::move(ended));
        }
        loop_.context().restart();
        loop_.run();
    }

    /// Runs one call, and returns what came of it.
    template <class Call>
    auto wait(Call call) {
        using Task = decltype(call(*database_, std::declval<core::Context const&>()));
        std::optional<typename Task::value_type> outcome;
        auto const work = [&](Database& database, core::Context const& context) -> core::Awaitable<void> {
            outcome = co_await call(database, context);
        };
        run({work});
        return std::move(*outcome);
    }

    Outcome write(Batch batch) {
        return wait([&](Database& database, core::Context const& context) { return database.write(context, batch); });
    }
    Outcome read(Batch batch) {
        return wait([&](Database& database, core::Context const& context) { return database.read(context, batch); });
    }

    core::Cancellation cancellation;

private:
    net::Loop loop_{{core::LogLevel::kError, core::LogFormat::kText, 2, false, false}};
    std::unique_ptr<Database> database_;
};

/// The parameter: sqlite, postgres or pgbouncer.
class StoreFixture : public ::testing::TestWithParam<std::string> {
protected:
    void SetUp() override {
        static std::atomic<int> number{0};
        unique_ = "t" + std::to_string(::getpid()) + "_" + std::to_string(++number);
        folder_ = std::filesystem::temp_directory_path() / ("parley-store-" + unique_);
        store_ = open();
        ASSERT_TRUE(store_);
        bench_ = std::make_unique<Bench>(*store_);
    }
    void TearDown() override {
        if (store_) store_->close(); // before the loops go, as the contract says
        bench_.reset();
        store_.reset();
        std::filesystem::remove_all(folder_);
    }

    std::unique_ptr<Store> open() {
        auto opened = GetParam() == "sqlite" ? open_sqlite(path()) : open_postgres({core::Secret(dsn())});
        EXPECT_TRUE(opened) << opened.error().message;
        return opened ? std::move(*opened) : nullptr;
    }
    std::string path() const { return (folder_ / "parley.sqlite").string(); }
    static std::string dsn() {
        auto const* const found =
            std::getenv(GetParam() == "postgres" ? "PARLEY_TEST_POSTGRES" : "PARLEY_TEST_PGBOUNCER");
        EXPECT_TRUE(found) << "run it with tests/with_postgres.py";
        return found ? found : "";
    }

    std::string unique_; // no other test's, in this run or another
    std::filesystem::path folder_;
    std::unique_ptr<Store> store_;
    std::unique_ptr<Bench> bench_;
};

inline auto const kEachStore = ::testing::Values("sqlite", "postgres", "pgbouncer");
inline auto const kStoreName = [](::testing::TestParamInfo<std::string> const& info) { return info.param; };

} // namespace parley::storage::testing

#include "net/mutex.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <gtest/gtest.h>

#include <string>

namespace parley::net {
namespace {

class MutexTest : public ::testing::Test {
protected:
    /// Takes the turn, notes its name, keeps the turn until `release`, notes that it has ended.
    core::Awaitable<void> hold(char name, core::Context const& context, Signal& release) {
        auto const turn = co_await mutex_.lock(context);
        trace_ += turn ? name : turn.error().code == core::Errc::kCancelled ? '!' : '?';
        if (turn) co_await release.wait();
        if (--running_ == 0) loop_.stop();
    }

    void start(char name, core::Context const& context, Signal& release) {
        ++running_;
        boost::asio::co_spawn(loop_.context(), hold(name, context, release), boost::asio::detached);
    }

    Loop loop_{{core::LogLevel::kError, core::LogFormat::kText, 2, false, false}};
    Mutex mutex_{loop_};
    std::string trace_;
    int running_ = 0;
};

TEST_F(MutexTest, TurnsAreTakenInTheOrderOfComing) {
    core::Cancellation cancellation;
    core::Context const context{cancellation};
    Signal first(loop_.executor());
    Signal others(loop_.executor());
    start('a', context, first);
    start('b', context, others);
    start('c', context, first);
    loop_.post([&] {
        EXPECT_EQ(trace_, "a");
        first.set();
        loop_.post([&] {
            others.set();
            first.set();
        });
    });
    loop_.run();
    EXPECT_EQ(trace_, "abc");
}

TEST_F(MutexTest, WhoIsCancelledLeavesTheLine) {
    core::Cancellation stays;
    core::Cancellation goes;
    core::Context const context{stays};
    core::Context const cancelled{goes};
    Signal first(loop_.executor());
    Signal last(loop_.executor());
    last.set();
    start('a', context, first);
    start('b', cancelled, last);
    start('c', context, last);
    loop_.post([&] {
        goes.cancel();
        loop_.post([&] { first.set(); });
    });
    loop_.run();
    EXPECT_EQ(trace_, "a!c");
}

TEST_F(MutexTest, NobodyWaitsLongerThanTheDeadline) {
    core::Cancellation cancellation;
    core::Context const context{cancellation};
    auto late = core::Context{cancellation};
    late.deadline = std::chrono::steady_clock::now();
    Signal first(loop_.executor());
    start('a', context, first);
    start('b', late, first);
    std::function<void()> watch = [&] {
        if (running_ == 1) {
            first.set();
        } else {
            loop_.post(watch);
        }
    };
    loop_.post(watch);
    loop_.run();
    EXPECT_EQ(trace_, "a?");
}

} // namespace
} // namespace parley::net

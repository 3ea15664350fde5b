// Work beside the loop.
#include "net/background.hpp"

#include <boost/asio/co_spawn.hpp>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <new>
#include <thread>

namespace parley::net {
namespace {

class BackgroundTest : public ::testing::Test {
protected:
    template <class Work>
    core::Awaitable<void> wait_for(Work& work) {
        co_await in_background(loop_, pool_, work);
        ended_on_ = std::this_thread::get_id();
        if (--running_ == 0) loop_.stop();
    }
    template <class Work>
    void begin(Work& work) {
        ++running_;
        boost::asio::co_spawn(loop_.context(), wait_for(work), [](std::exception_ptr) {});
    }

    Loop loop_{{core::LogLevel::kError, core::LogFormat::kText, 2, false, false}};
    boost::asio::thread_pool pool_{2};
    std::thread::id ended_on_;
    int running_ = 0;
};

TEST_F(BackgroundTest, IsDoneElsewhereAndComesBack) {
    std::thread::id done_on;
    auto work = [&] { done_on = std::this_thread::get_id(); };
    begin(work);
    loop_.run();
    EXPECT_NE(done_on, std::thread::id());
    EXPECT_NE(done_on, std::this_thread::get_id());
    EXPECT_EQ(ended_on_, std::this_thread::get_id());
}

TEST_F(BackgroundTest, TheLoopGoesOnMeanwhile) {
    std::promise<void> looped;
    auto work = [done = looped.get_future().share()] { done.wait(); }; // for ever, if the loop stood still
    begin(work);
    loop_.post([this, &looped] { loop_.post([&looped] { looped.set_value(); }); });
    loop_.run();
    EXPECT_EQ(running_, 0);
}

TEST_F(BackgroundTest, ManyAtOnce) {
    std::atomic<int> count{0};
    auto work = [&] { ++count; };
    for (int i = 0; i < 1000; ++i)
        begin(work);
    loop_.run();
    EXPECT_EQ(count, 1000);
}

TEST_F(BackgroundTest, WhatItThrowsIsThrownToWhoeverWaits) {
    auto work = [] { throw std::bad_alloc(); };
    std::exception_ptr thrown;
    boost::asio::co_spawn(loop_.context(), in_background(loop_, pool_, work), [&](std::exception_ptr error) {
        thrown = error;
        loop_.stop();
    });
    loop_.run();
    ASSERT_TRUE(thrown);
    EXPECT_THROW(std::rethrow_exception(thrown), std::bad_alloc);
}

// What App does at its end: whoever waits is not woken, and nothing is touched that is gone.
TEST_F(BackgroundTest, TheLoopMayEndOnceThePoolIsJoined) {
    auto loop =
        std::make_unique<Loop>(core::LogOptions{core::LogLevel::kError, core::LogFormat::kText, 2, false, false});
    std::atomic<bool> is_done = false;
    auto work = [&] { is_done = true; };
    auto waits = [](Loop& on, boost::asio::thread_pool& pool, auto& what) -> core::Awaitable<void> {
        co_await in_background(on, pool, what);
        ADD_FAILURE() << "the loop has ended";
    };
    boost::asio::co_spawn(loop->context(), waits(*loop, pool_, work), [](std::exception_ptr) {});
    loop->context().poll_one();
    pool_.join();
    loop.reset();
    EXPECT_TRUE(is_done);
}

} // namespace
} // namespace parley::net

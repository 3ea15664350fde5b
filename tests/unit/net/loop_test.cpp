// Waiting and being stopped: signals, deadlines, cancellation. On a real loop, without sleeping.
#include "net/loop.hpp"

#include <boost/asio/co_spawn.hpp>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "net/signal.hpp"

namespace parley::net {
namespace {

class LoopTest : public ::testing::Test {
protected:
    void run(std::function<core::Awaitable<void>()> const& work) {
        auto done = [this](std::exception_ptr error) {
            EXPECT_FALSE(error);
            loop_.stop();
        };
        boost::asio::co_spawn(loop_.context(), work(), done);
        loop_.run();
    }
    Loop loop_{{core::LogLevel::kError, core::LogFormat::kText, 2, false, false}};
};

TEST_F(LoopTest, ASignalSetBeforeTheWaitIsNotLost) {
    Signal signal(loop_.executor());
    signal.set();
    run([&]() -> core::Awaitable<void> { return signal.wait(); });
}

core::Awaitable<void> wait_for(Signal& signal, int times, std::string& trace) {
    for (auto i = 0; i < times; ++i) {
        co_await signal.wait();
        trace += 'w';
    }
}

TEST_F(LoopTest, ASignalWakesItsWaiterEachTime) {
    Signal signal(loop_.executor());
    std::string trace;
    std::function<void()> ring = [&] {
        if (signal.has_waiter()) {
            trace += 's';
            signal.set();
        }
        if (trace.size() < 6) loop_.post(ring);
    };
    loop_.post(ring);
    run([&] { return wait_for(signal, 3, trace); });
    EXPECT_EQ(trace, "swswsw");
}

core::Awaitable<void> sleep_and_note(Loop& loop, core::Cancellation& cancellation, core::Errc& code) {
    core::Context const context{cancellation};
    auto const slept = co_await loop.sleep(context, std::chrono::hours(1));
    code = slept ? core::Errc::kInternal : slept.error().code;
}

TEST_F(LoopTest, CancellationEndsASleep) {
    core::Cancellation cancellation;
    auto code = core::Errc::kInternal;
    loop_.post([&] { cancellation.cancel(); });
    run([&] { return sleep_and_note(loop_, cancellation, code); });
    EXPECT_EQ(code, core::Errc::kCancelled);
}

TEST_F(LoopTest, ASleepThatBeginsTooLateEndsAtOnce) {
    core::Cancellation cancellation;
    cancellation.cancel();
    auto code = core::Errc::kInternal;
    run([&] { return sleep_and_note(loop_, cancellation, code); });
    EXPECT_EQ(code, core::Errc::kCancelled);
}

TEST_F(LoopTest, DeadlinesFireWhileItRuns) {
    auto stop = [this] { loop_.stop(); };
    OnDeadline deadline(loop_, stop);
    auto const from = std::chrono::steady_clock::now();
    deadline.after(std::chrono::milliseconds(30));
    loop_.run();
    EXPECT_GE(std::chrono::steady_clock::now() - from, std::chrono::milliseconds(30));
    EXPECT_EQ(deadline.when(), core::SteadyTime::max());
}

TEST(Cancellation, RunsEachHookOnceAndForgetsDeadOnes) {
    core::Cancellation cancellation;
    std::string trace;
    auto a = [&] { trace += 'a'; };
    auto b = [&] { trace += 'b'; };
    core::OnCancel const first(cancellation, a);
    {
        core::OnCancel const gone(cancellation, b);
    }
    cancellation.cancel();
    cancellation.cancel();
    EXPECT_EQ(trace, "a");
    core::OnCancel const late(cancellation, b);
    EXPECT_EQ(trace, "ab") << "at once when it is too late";
}

} // namespace
} // namespace parley::net

// The timing wheel, in a time of its own.
#include "net/deadline.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace parley::net {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

class DeadlineTest : public ::testing::Test {
protected:
    using Action = std::function<void()>;
    using Made = std::unique_ptr<OnDeadline<Action>>;

    Made make(Action action) { return std::make_unique<OnDeadline<Action>>(wheel_, std::move(action)); }

    /// One that notes `name` when it fires.
    Made noting(std::string name) {
        return make([this, name] { trace_ += name; });
    }

    /// As the loop does: a sweep each tick.
    void pass(milliseconds time) {
        for (auto const end = now_ + time; now_ < end;) {
            now_ += std::min<core::SteadyTime::duration>(DeadlineWheel::kTick, end - now_);
            wheel_.sweep(now_);
        }
    }

    core::SteadyTime now_ = core::SteadyTime(hours(1000) + milliseconds(7));
    DeadlineWheel wheel_{now_};
    std::string trace_;
};

TEST_F(DeadlineTest, FiresOnceAndNeverEarly) {
    auto const one = noting("a");
    one->at(now_ + milliseconds(120));
    pass(milliseconds(119));
    EXPECT_EQ(trace_, "");
    pass(DeadlineWheel::kTick + milliseconds(1));
    EXPECT_EQ(trace_, "a");
    EXPECT_EQ(one->when(), core::SteadyTime::max());
    pass(hours(1));
    EXPECT_EQ(trace_, "a");
}

TEST_F(DeadlineTest, FiresInTheOrderOfTicks) {
    auto const late = noting("c");
    auto const early = noting("a");
    auto const between = noting("b");
    late->at(now_ + seconds(3));
    early->at(now_ + seconds(1));
    between->at(now_ + seconds(2));
    now_ += seconds(10); // a loop that was held up
    wheel_.sweep(now_);
    EXPECT_EQ(trace_, "abc");
}

TEST_F(DeadlineTest, OneThatIsMovedOnFiresThen) {
    auto const one = noting("a");
    for (auto i = 0; i < 200; ++i) {
        one->at(now_ + seconds(1));
        pass(milliseconds(500));
    }
    EXPECT_EQ(trace_, "");
    pass(milliseconds(600));
    EXPECT_EQ(trace_, "a");
}

TEST_F(DeadlineTest, OneThatIsMovedUpFiresThen) {
    auto const one = noting("a");
    one->at(now_ + hours(1));
    one->at(now_ + milliseconds(100));
    pass(milliseconds(200));
    EXPECT_EQ(trace_, "a");
    one->never();
    one->at(now_ - seconds(1));
    pass(milliseconds(100));
    EXPECT_EQ(trace_, "aa") << "what is past fires with the next sweep";
}

TEST_F(DeadlineTest, OneThatWasTakenBackDoesNotFireUntilItIsSetAgain) {
    auto const one = noting("a");
    one->at(now_ + seconds(1));
    one->never();
    pass(seconds(5));
    EXPECT_EQ(trace_, "");
    one->at(now_ + seconds(1));
    pass(seconds(2));
    EXPECT_EQ(trace_, "a");
}

TEST_F(DeadlineTest, OneThatIsTurnsAwayWaitsForItsTurn) {
    auto const one = noting("a");
    one->at(now_ + hours(2));
    pass(hours(2) - milliseconds(1));
    EXPECT_EQ(trace_, "");
    pass(milliseconds(100));
    EXPECT_EQ(trace_, "a");
}

TEST_F(DeadlineTest, AnActionMayDestroyMoveAndMakeOthers) {
    Made destroyed = noting("d");
    Made moved = noting("m");
    Made made;
    auto const first = make([&] {
        trace_ += 'f';
        destroyed.reset();
        moved->at(now_ + seconds(1));
        made = noting("n");
        made->at(now_);
    });
    for (auto* const one : {first.get(), destroyed.get(), moved.get()}) // in this order
        one->at(now_ + milliseconds(10));
    pass(DeadlineWheel::kTick);
    EXPECT_EQ(trace_, "f") << "those that had come, too, were destroyed or moved by it";
    pass(milliseconds(100));
    EXPECT_EQ(trace_, "fn");
    pass(seconds(1));
    EXPECT_EQ(trace_, "fnm");
}

TEST_F(DeadlineTest, OneMayDestroyItselfAndSetItselfAgain) {
    Made itself;
    itself = make([&] { itself.reset(); });
    itself->at(now_);
    auto times = 0;
    Made again;
    again = make([&] {
        if (++times < 3) again->at(now_ + seconds(1));
    });
    again->at(now_);
    pass(seconds(10));
    EXPECT_EQ(itself, nullptr);
    EXPECT_EQ(times, 3);
}

// Against the plain way: each is due when it says so.
TEST_F(DeadlineTest, ManyAtRandomFireWithinATickOfTheirTime) {
    std::mt19937 dice(7); // NOLINT(cert-msc32-c,cert-msc51-cpp): the same each time
    auto const any = [&dice](int below) { return std::uniform_int_distribution<int>(0, below - 1)(dice); };
    struct One {
        Made deadline;
        core::SteadyTime due = core::SteadyTime::max();
        int late = 0;
    };
    std::vector<One> all(300);
    auto fired = 0;
    for (auto& one : all) {
        one.deadline = make([&one, &fired, this] {
            ++fired;
            if (one.due > now_ || now_ - one.due > DeadlineWheel::kTick) ++one.late;
            one.due = core::SteadyTime::max();
        });
    }
    for (auto step = 0; step < 4000; ++step) {
        auto& one = all[static_cast<std::size_t>(any(300))];
        if (any(5) == 0) {
            one.due = core::SteadyTime::max();
            one.deadline->never();
        } else {
            one.due = now_ + milliseconds(any(4) == 0 ? any(200'000) : any(3'000));
            one.deadline->at(one.due);
        }
        pass(milliseconds(any(120)));
    }
    EXPECT_GT(fired, 1000);
    for (auto const& one : all) {
        EXPECT_EQ(one.late, 0);
        EXPECT_TRUE(one.due == core::SteadyTime::max() || one.due + DeadlineWheel::kTick > now_) << "it was missed";
    }
}

} // namespace
} // namespace parley::net

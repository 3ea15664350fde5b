// Watching what a library owns, and may close behind our back.
#include "net/descriptor_wait.hpp"

#include <boost/asio/co_spawn.hpp>
#include <gtest/gtest.h>

#include <array>
#include <optional>

#include <sys/socket.h>
#include <unistd.h>

namespace parley::net {
namespace {

struct Pair {
    Pair() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0); }
    ~Pair() {
        ::close(ends[0]);
        ::close(ends[1]);
    }
    std::array<int, 2> ends{};
};

class DescriptorWaitTest : public ::testing::Test {
protected:
    bool wait_readable(DescriptorWait& wait) {
        std::optional<bool> seen;
        auto done = [&](std::exception_ptr, bool readable) { seen = readable; };
        boost::asio::co_spawn(loop_.context(), wait.readable(), done);
        loop_.context().run_for(std::chrono::seconds(5)); // ends with the wait
        loop_.context().restart();
        return seen.value_or(false);
    }
    Loop loop_{{core::LogLevel::kError, core::LogFormat::kText, 2, false, false}};
};

TEST_F(DescriptorWaitTest, SeesWhatComes) {
    Pair const pair;
    DescriptorWait wait(loop_, pair.ends[0]);
    ASSERT_EQ(::write(pair.ends[1], "x", 1), 1);
    EXPECT_TRUE(wait_readable(wait));
}

// libpq closes its socket when the server goes; the next socket of any thread gets its number.
TEST_F(DescriptorWaitTest, DoesNotTouchWhoHasTheNumberNext) {
    Pair const next;
    auto gone = std::make_unique<Pair>();
    auto const number = gone->ends[0];
    auto old_wait = std::make_unique<DescriptorWait>(loop_, number);
    ASSERT_EQ(::dup2(next.ends[0], number), number);
    DescriptorWait wait(loop_, number);
    old_wait.reset();
    ASSERT_EQ(::write(next.ends[1], "x", 1), 1);
    EXPECT_TRUE(wait_readable(wait));
}

TEST_F(DescriptorWaitTest, NothingCanBeReadOfWhatIsNotThere) {
    DescriptorWait wait(loop_, -1);
    EXPECT_FALSE(wait_readable(wait));
    wait.stop();
}

} // namespace
} // namespace parley::net

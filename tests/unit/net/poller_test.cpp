// What is told of sockets, to whom, and to whom no more.
#include "net/poller.hpp"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

namespace parley::net {
namespace {

class Watched final : public Poller::Watcher {
public:
    explicit Watched(Poller& poller) : poller_(poller) {
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends_.data()), 0);
        EXPECT_TRUE(poller_.add(ends_[0], *this));
    }
    ~Watched() {
        poller_.remove(ends_[0], *this);
        ::close(ends_[0]);
        ::close(ends_[1]);
    }
    Watched(Watched const&) = delete;
    Watched& operator=(Watched const&) = delete;

    void on_news(Poller::News news) override {
        told.push_back(news);
        if (then) then();
    }
    void on_loop_end() noexcept override { ++ends; }

    void send(std::string_view bytes) const {
        ASSERT_EQ(::write(ends_[1], bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    }
    void finish() const { ::shutdown(ends_[1], SHUT_WR); }

    std::vector<Poller::News> told;
    std::function<void()> then;
    int ends = 0;

private:
    Poller& poller_;
    std::array<int, 2> ends_{};
};

TEST(Poller, TellsEachChangeOnce) {
    Poller poller;
    Watched one(poller);
    poller.dispatch();
    ASSERT_EQ(one.told.size(), 1u); // that there is room
    EXPECT_FALSE(one.told[0].readable);
    poller.dispatch();
    EXPECT_EQ(one.told.size(), 1u);
    one.send("x");
    poller.dispatch();
    ASSERT_EQ(one.told.size(), 2u);
    EXPECT_TRUE(one.told[1].readable);
    EXPECT_FALSE(one.told[1].ended);
    poller.dispatch(); // the byte is still there
    EXPECT_EQ(one.told.size(), 2u);
    one.send("y");
    poller.dispatch();
    EXPECT_EQ(one.told.size(), 3u);
}

TEST(Poller, TellsAnEndTogetherWithTheLastBytes) {
    Poller poller;
    Watched one(poller);
    one.send("x");
    one.finish();
    poller.dispatch();
    ASSERT_EQ(one.told.size(), 1u);
    EXPECT_TRUE(one.told[0].readable);
    EXPECT_TRUE(one.told[0].ended);
    EXPECT_FALSE(one.told[0].failed);
}

TEST(Poller, WhoIsGoneIsToldNothingMore) {
    Poller poller;
    std::vector<std::unique_ptr<Watched>> all;
    for (auto i = 0; i < 3; ++i)
        all.push_back(std::make_unique<Watched>(poller));
    auto told = 0;
    for (auto& one : all)
        one->then = [&] {
            ++told;
            std::erase_if(all, [&one = one](auto const& other) { return other.get() != one.get(); }); // of this batch
        };
    poller.dispatch();
    EXPECT_EQ(told, 1);
    EXPECT_EQ(all.size(), 1u);
}

TEST(Poller, WhoEndsItselfWhenTold) {
    Poller poller;
    auto one = std::make_unique<Watched>(poller);
    one->then = [&] {
        auto const then = std::move(one->then); // it is running
        one.reset();
    };
    poller.dispatch();
    EXPECT_FALSE(one);
    poller.dispatch();
}

TEST(Poller, TellsEverybodyThatTheLoopEnds) {
    Poller poller;
    Watched one(poller);
    Watched other(poller);
    poller.end();
    EXPECT_EQ(one.ends + other.ends, 2);
}

} // namespace
} // namespace parley::net

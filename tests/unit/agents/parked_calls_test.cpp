// What is kept between a mixed round and the client's answer: for whom, how long, how much.
#include "agents/parked_calls.hpp"

#include <gtest/gtest.h>

namespace parley::agents {
namespace {

using std::chrono::seconds;
core::SteadyTime const kNow{};

std::shared_ptr<ParkedTurn const> turn(std::size_t bytes = 10) {
    auto made = std::make_shared<ParkedTurn>();
    made->messages.push_back({chat::Role::kTool, std::string(bytes, 'x'), 0, 0});
    return made;
}

TEST(ParkedCalls, EveryPartOfTheKeyCounts) {
    auto const key_of = [](char const* principal, char const* user, char const* agent, char const* asked,
                           char const* call) { return ParkedCalls::key({principal, user}, agent, asked, call); };
    auto const key = key_of("p", "u", "a", "q", "c");
    EXPECT_EQ(key, key_of("p", "u", "a", "q", "c"));
    for (auto const& other :
         {key_of("p2", "u", "a", "q", "c"), key_of("p", "u2", "a", "q", "c"), key_of("p", "u", "a2", "q", "c"),
          key_of("p", "u", "a", "q2", "c"), key_of("p", "u", "a", "q", "c2"), key_of("p", "ua", "", "q", "c")})
        EXPECT_NE(key, other);
}

TEST(ParkedCalls, StaysUntilItsTimeIsUp) {
    ParkedCalls parked({10, 1'000'000, seconds(60)});
    EXPECT_TRUE(parked.empty());
    auto const kept = turn();
    parked.park("k", kept, kNow);
    EXPECT_FALSE(parked.empty());
    EXPECT_EQ(parked.find("k", kNow + seconds(59)), kept);
    EXPECT_EQ(parked.find("k", kNow + seconds(59)), kept); // asking does not take it away
    EXPECT_EQ(parked.find("other", kNow), nullptr);
    EXPECT_EQ(parked.find("k", kNow + seconds(60)), nullptr);
    EXPECT_TRUE(parked.empty());
}

TEST(ParkedCalls, TheOldestMakeRoom) {
    ParkedCalls parked({2, 1'000'000, seconds(60)});
    parked.park("a", turn(), kNow);
    parked.park("b", turn(), kNow);
    parked.park("c", turn(), kNow);
    EXPECT_EQ(parked.find("a", kNow), nullptr);
    EXPECT_NE(parked.find("b", kNow), nullptr);
    EXPECT_NE(parked.find("c", kNow), nullptr);
}

TEST(ParkedCalls, BytesAreBounded) {
    ParkedCalls parked({100, 5'000, seconds(60)});
    parked.park("a", turn(2'000), kNow);
    parked.park("b", turn(2'000), kNow);
    parked.park("c", turn(2'000), kNow);
    EXPECT_EQ(parked.find("a", kNow), nullptr);
    EXPECT_NE(parked.find("c", kNow), nullptr);
    parked.park("huge", turn(5'000), kNow);
    EXPECT_EQ(parked.find("huge", kNow), nullptr);
    EXPECT_NE(parked.find("c", kNow), nullptr);
    auto const again = turn(100);
    parked.park("c", again, kNow); // the same key again takes the old one's place
    EXPECT_EQ(parked.find("c", kNow), again);
}

} // namespace
} // namespace parley::agents

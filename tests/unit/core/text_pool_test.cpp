#include "core/text_pool.hpp"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace parley::core {
namespace {

/// Each test has a thread of its own, and so an empty pool.
template <class Act>
void on_new_thread(Act act) {
    std::thread(act).join();
}

std::string used(std::size_t capacity) {
    auto text = pooled_text(capacity);
    text.assign(capacity, 'x');
    return text;
}

TEST(TextPool, GivesTheMemoryUsedLastAgainAndNothingThatStoodInIt) {
    on_new_thread([] {
        auto first = used(10'000);
        auto second = used(10'000);
        auto const* const latest = second.data();
        recycle_text(std::move(first));
        recycle_text(std::move(second));
        auto const again = pooled_text(9'000);
        EXPECT_EQ(again.data(), latest);
        EXPECT_TRUE(again.empty());
        EXPECT_GE(again.capacity(), 9'000U);
    });
}

TEST(TextPool, GivesNoMemoryThatIsTooSmallOrMuchTooLarge) {
    on_new_thread([] {
        auto text = used(20'000);
        auto const* const kept = text.data();
        recycle_text(std::move(text));
        EXPECT_NE(pooled_text(30'000).data(), kept);
        EXPECT_NE(pooled_text(5'000).data(), kept) << "a small text would hold four times what it needs";
        EXPECT_EQ(pooled_text(15'000).data(), kept);
    });
}

TEST(TextPool, KeepsNeitherSmallNorLargeTexts) {
    on_new_thread([] {
        for (auto const size : {kPooledBytesMin / 2, kPooledBytesMax + 1}) {
            auto text = used(size);
            recycle_text(std::move(text));
            EXPECT_EQ(text.capacity(), std::string().capacity()) << size; // NOLINT(bugprone-use-after-move)
        }
    });
}

TEST(TextPool, IsNeverLargerThanItsLimit) {
    on_new_thread([] {
        std::vector<std::string> texts;
        for (auto i = 0; i < 40; ++i)
            texts.push_back(used(200'000));
        std::vector<char const*> places;
        for (auto& text : texts) {
            places.push_back(text.data());
            recycle_text(std::move(text));
            EXPECT_LE(pooled_bytes(), kPoolBytesMax);
        }
        EXPECT_GT(pooled_bytes(), kPoolBytesMax - 200'200);
        for (auto i = places.size(); i-- > places.size() - kPoolBytesMax / 200'000;)
            EXPECT_EQ(pooled_text(200'000).data(), places[i]) << "those that were given back last are kept";
        EXPECT_EQ(pooled_bytes(), 0U);
    });
}

TEST(TextPool, TakesBackWhatAPooledTextHeld) {
    on_new_thread([] {
        char const* place = nullptr;
        {
            PooledText const text(used(50'000));
            place = text.get().data();
            EXPECT_EQ(text.get().size(), 50'000U);
        }
        EXPECT_EQ(pooled_text(50'000).data(), place);
    });
}

} // namespace
} // namespace parley::core

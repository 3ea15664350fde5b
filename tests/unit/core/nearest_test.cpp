// "Did you mean": the distance, and when nothing is near enough.
#include "core/nearest.hpp"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <string>

namespace parley::core {
namespace {

constexpr std::array<std::string_view, 8> kKeys{"agent_id", "provider",      "model",     "system_prompt",
                                                "limits",   "allowed_tools", "connect_s", "idle_s"};

TEST(EditDistance, CountsEdits) {
    EXPECT_EQ(edit_distance("", ""), 0U);
    EXPECT_EQ(edit_distance("", "abc"), 3U);
    EXPECT_EQ(edit_distance("abc", ""), 3U);
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
    EXPECT_EQ(edit_distance("modle", "model"), 1U); // one swap
    EXPECT_EQ(edit_distance("same", "same"), 0U);
}

TEST(Nearest, FindsWhatWasMeant) {
    for (auto const& [word, meant] : std::map<std::string_view, std::string_view>{
             {"provdier", "provider"},
             {"agentId", "agent_id"},
             {"agent-id", "agent_id"},
             {"MODEL", "model"},
             {"modle", "model"},
             {"limit", "limits"},
             {"connect", "connect_s"},
             {"prompt", "system_prompt"},
             {"systemprompt", "system_prompt"},
         }) {
        EXPECT_EQ(nearest(word, kKeys), meant) << word;
    }
}

TEST(Nearest, SaysNothingWhenNothingIsNear) {
    EXPECT_FALSE(nearest("", kKeys));
    EXPECT_FALSE(nearest("banana", kKeys));
    EXPECT_FALSE(nearest("x", kKeys));
    EXPECT_FALSE(nearest(std::string(65, 'a'), kKeys));
    EXPECT_FALSE(nearest("model", {}));
    constexpr std::array<std::string_view, 2> kLetters{"a", "b"};
    EXPECT_FALSE(nearest("c", kLetters));
}

} // namespace
} // namespace parley::core

#include "memory/visible_text.hpp"

#include <gtest/gtest.h>

namespace parley::memory {
namespace {

TEST(VisibleText, WithoutBlocksItIsAsItWas) {
    for (auto const* const text : {"", "plain", " a < b \n", "<b>bold</b>", "2 <think about it",
                                   "a <details> b </details>", "<details type=\"note\">mine</details>"})
        EXPECT_EQ(without_hidden_blocks(text), text);
}

TEST(VisibleText, BlocksGoWithTheSpaceAroundThem) {
    EXPECT_EQ(without_hidden_blocks("<think>\nhm\n</think>\n\nHello."), "Hello.");
    EXPECT_EQ(without_hidden_blocks("One.\n\n<think>hm</think>\n\nTwo."), "One.\n\nTwo.");
    EXPECT_EQ(without_hidden_blocks("One. <thoughts>hm</thoughts>"), "One.");
    EXPECT_EQ(without_hidden_blocks("a<reasoning>x</reasoning>b"), "ab");
    EXPECT_EQ(without_hidden_blocks(R"(<details type="tool_calls" done="true" id="1">
<summary>Tool Executed</summary>
</details>
It is 42.)"),
              "It is 42.");
}

TEST(VisibleText, NestedBlocksAreOne) {
    EXPECT_EQ(without_hidden_blocks("<think>a<think>b</think>c</think>d"), "d");
    EXPECT_EQ(
        without_hidden_blocks(R"(<details type="reasoning">x<details><summary>y</summary></details>z</details>end)"),
        "end");
    EXPECT_EQ(without_hidden_blocks("<think>a</think><think>b</think>c"), "c");
}

TEST(VisibleText, ABlockThatIsNotClosed) {
    EXPECT_EQ(without_hidden_blocks("<think>cut in the middle of"), "") << "nothing of it was visible yet";
    EXPECT_EQ(without_hidden_blocks("Say <think> to make it think"), "Say <think> to make it think");
    EXPECT_EQ(without_hidden_blocks("done</think>"), "done</think>");
}

TEST(VisibleText, ManyOpenMarksAreRead) {
    std::string text;
    for (auto i = 0; i < 500'000; ++i) // 4 MB: in time that grows with the square it would not end today
        text += "x<think>";
    EXPECT_EQ(without_hidden_blocks(text), text);
    EXPECT_EQ(without_hidden_blocks(text + "</think>"), text + "</think>");
}

TEST(VisibleText, TheFingerprintIsWithoutSpace) {
    EXPECT_EQ(answer_fingerprint("<think>x</think>\nLet me see.\n\nDone. "), answer_fingerprint("Let me see. Done."));
    EXPECT_NE(answer_fingerprint("Done"), answer_fingerprint("done"));
}

} // namespace
} // namespace parley::memory

#include "core/redactor.hpp"

#include <gtest/gtest.h>

#include <string>

namespace parley::core {
namespace {

TEST(Redactor, TakesOutWhatItKnowsHoweverItIsWritten) {
    Redactor redactor;
    redactor.add("pass/word \"1\"");
    redactor.add("Bearer open sesame");
    redactor.add("123e4567-e89b-12d3-a456-426614174000");
    EXPECT_EQ(redactor("a pass/word \"1\" b"), "a [redacted] b");
    EXPECT_EQ(redactor("in a URL: pass%2Fword%20%221%22."), "in a URL: [redacted].");
    EXPECT_EQ(redactor(R"({"got":"pass/word \"1\""})"), R"({"got":"[redacted]"})");
    EXPECT_EQ(redactor("cGFzcy93b3JkICIxIg=="), "[redacted]");
    EXPECT_EQ(redactor("key 'open sesame' is wrong, open sesame!"), "key '[redacted]' is wrong, [redacted]!");
    EXPECT_EQ(redactor("123e4567-e89b-12d3-a456-426614174000"), "[redacted]");
}

TEST(Redactor, LeavesTheRestAlone) {
    Redactor redactor;
    EXPECT_EQ(redactor("nothing is known"), "nothing is known");
    redactor.add("");
    redactor.add("none");
    EXPECT_EQ(redactor("none of these"), "none of these") << "too short to be a secret";
}

TEST(Redactor, APartDoesNotHideTheWhole) {
    Redactor redactor;
    redactor.add("secret");
    redactor.add("secret-and-more");
    EXPECT_EQ(redactor("secret-and-more secret"), "[redacted] [redacted]");
}

TEST(Redactor, IsBounded) {
    Redactor redactor;
    for (int i = 0; i < 10'000; ++i)
        redactor.add("token-" + std::to_string(i));
    redactor.add("the newest of all");
    EXPECT_EQ(redactor("the newest of all"), "[redacted]");
}

} // namespace
} // namespace parley::core

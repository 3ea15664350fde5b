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

TEST(Redactor, TokensPassSecretsStay) {
    Redactor redactor;
    redactor.add("secret");
    for (int i = 1000; i < 2000; ++i) {
        redactor.add_passing("token-" + std::to_string(i));
        redactor.add_passing("token-" + std::to_string(i)); // as each request brings it
    }
    EXPECT_EQ(redactor("secret token-1999 token-1984"), "[redacted] [redacted] [redacted]");
    EXPECT_EQ(redactor("token-1983"), "token-1983");
}

} // namespace
} // namespace parley::core

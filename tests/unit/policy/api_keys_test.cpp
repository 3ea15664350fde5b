#include "policy/api_keys.hpp"

#include <gtest/gtest.h>

namespace parley::policy {
namespace {

TEST(ApiKeys, KnowsOnlyWholeKeys) {
    auto const keys = ApiKeys::from_list("sk-first-key-of-some-length, sk-second\n");
    EXPECT_EQ(keys.size(), 2U);
    EXPECT_TRUE(keys.principal("sk-first-key-of-some-length"));
    EXPECT_TRUE(keys.principal("sk-second"));
    for (auto const* wrong :
         {"", "sk-first-key-of-some-lengtH", "sk-first-key-of-some-length ", "sk-first-key-of-some-lengthx",
          "sk-first-key-of-some", "sk-first-key-of-some-length, sk-second", "' OR 1=1 --"}) {
        EXPECT_FALSE(keys.principal(wrong)) << wrong;
    }
    EXPECT_FALSE(keys.principal(std::string(1 << 20, 'x')));
}

TEST(ApiKeys, PrincipalsDifferAndDoNotHoldTheKey) {
    auto const keys = ApiKeys::from_list("alpha,beta,alpha");
    EXPECT_EQ(keys.size(), 2U);
    auto const alpha = keys.principal("alpha");
    EXPECT_NE(alpha, keys.principal("beta"));
    EXPECT_EQ(alpha->find("alpha"), std::string::npos);
}

TEST(ApiKeys, NoneIsNone) {
    EXPECT_TRUE(ApiKeys::from_list(" , ").empty());
}

} // namespace
} // namespace parley::policy

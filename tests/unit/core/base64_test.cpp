#include "core/base64.hpp"

#include <gtest/gtest.h>

#include "core/random.hpp"

namespace parley::core {
namespace {

TEST(Base64, EncodesTheExamplesOfRfc4648) {
    EXPECT_EQ(base64(""), "");
    EXPECT_EQ(base64("f"), "Zg==");
    EXPECT_EQ(base64("fo"), "Zm8=");
    EXPECT_EQ(base64("foo"), "Zm9v");
    EXPECT_EQ(base64("foob"), "Zm9vYg==");
    EXPECT_EQ(base64("fooba"), "Zm9vYmE=");
    EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
}

TEST(Base64, UrlsHaveTheirOwnAlphabetAndNoPadding) {
    EXPECT_EQ(base64("\xfb\xff\xbf\xff"), "+/+//w==");
    EXPECT_EQ(base64url("\xfb\xff\xbf\xff"), "-_-__w");
    EXPECT_EQ(base64url("\x03\xec\xff\xe0\xc1"), "A-z_4ME"); // RFC 7515 appendix C
}

TEST(Base64, ReadsBackWhatItWroteForUrls) {
    for (std::size_t size = 0; size < 70; ++size) {
        auto const bytes = random_bytes(size);
        EXPECT_EQ(from_base64url(base64url(bytes)), bytes);
    }
}

TEST(Base64, ReadsNothingElse) {
    for (auto const* const text :
         {"A", "AAAAA", "Zg==", "Zm8=", "a b", "+/+/", "Zh", "Zm9=", "\xc3\xa4"}) // Zh: stray bits
        EXPECT_EQ(from_base64url(text), std::nullopt) << text;
}

TEST(RandomBytes, AreAsManyAsAskedForAndNeverTheSame) {
    EXPECT_EQ(random_bytes(0), "");
    EXPECT_EQ(random_bytes(300).size(), 300U);
    EXPECT_NE(random_bytes(32), random_bytes(32));
}

} // namespace
} // namespace parley::core

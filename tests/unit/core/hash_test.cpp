#include "core/hash.hpp"

#include <gtest/gtest.h>

namespace parley::core {
namespace {

TEST(Hash, IsSha256) { // FIPS 180-4, example B.1
    EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Hash, ComparesWhole) {
    EXPECT_TRUE(equal_in_constant_time(sha256("a"), sha256("a")));
    EXPECT_FALSE(equal_in_constant_time(sha256("a"), sha256("b")));
}

} // namespace
} // namespace parley::core

#include "core/append.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace parley::core {
namespace {

TEST(Append, PrintsNumbersOfEverySizeInDecimal) {
    std::string out;
    append_number(out, std::numeric_limits<std::int64_t>::min());
    append(out, ' ', std::numeric_limits<std::uint64_t>::max(), " ", 0, ' ', static_cast<std::uint8_t>(7));
    EXPECT_EQ(out, "-9223372036854775808 18446744073709551615 0 7");
}

TEST(Append, PadsWithZerosAndNeverCuts) {
    std::string out = "ms=";
    append_padded(out, 0, 3);
    append_padded(out, 42, 3);
    append_padded(out, 1234, 3);
    EXPECT_EQ(out, "ms=0000421234");
}

TEST(Append, TakesTextOfEveryKindAsItIs) {
    std::string out;
    append(out, "literal", std::string(" string"), std::string_view(" view\0"), '!', "");
    EXPECT_EQ(out, "literal string view!");
}

} // namespace
} // namespace parley::core

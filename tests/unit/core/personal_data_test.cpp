#include "core/personal_data.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "core/hash.hpp"

namespace parley::core {
namespace {

std::string masked(std::string_view text) {
    auto out = mask_personal_data(text);
    EXPECT_TRUE(out == text || may_hold_personal_data(text)) << text;
    return out;
}

TEST(PersonalData, EmailAddresses) {
    auto const shown = "[email " + sha256_hex("ada.lovelace+x@mail.example.com").substr(0, 6) + "]";
    EXPECT_EQ(masked("ada.lovelace+x@mail.example.com"), shown);
    EXPECT_EQ(masked("Write to Ada.Lovelace+X@Mail.Example.com."), "Write to " + shown + ".");
    EXPECT_EQ(masked("/v1/conversations/ada.lovelace+x%40mail.example.com/fork"),
              "/v1/conversations/" + shown + "/fork");
    EXPECT_EQ(masked("user:ada.lovelace+x@mail.example.com"), "user:" + shown);
    EXPECT_EQ(masked("<ada.lovelace+x@mail.example.com>,<ada.lovelace+x@mail.example.com>"),
              "<" + shown + ">,<" + shown + ">");
    for (auto const* const other :
         {"a@b", "@example.com", "user@", "@", "postgres://u@db/x", "100%40", "a@1.2", "x@.de", "a@b.c"})
        EXPECT_EQ(masked(other), other);
}

TEST(PersonalData, PaymentCards) {
    for (auto const* const card :
         {"4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005", "6011000990139424"})
        EXPECT_EQ(masked("pay with " + std::string(card) + ", please"), "pay with [card], please") << card;
    for (auto const* const other : {"4111111111111112",  // its check digit is wrong
                                    "1700000000000",     // a time in milliseconds
                                    "x4111111111111111", // part of a longer word
                                    "4111111111111111a", "41111111111111110000000",
                                    "12345678-1234-1234-1234-123456789012", // a UUID
                                    "req-0123456789abcdef0123456789abcdef", "2026-11-27 10:20:30.123456"})
        EXPECT_EQ(masked(other), other);
}

TEST(PersonalData, TelephoneNumbers) {
    for (auto const* const number : {"+49 30 901820", "+1 (212) 555-0100", "+442079460000", "+49-30/90 18 20"})
        EXPECT_EQ(masked("call " + std::string(number) + "."), "call [phone].") << number;
    for (auto const* const other :
         {"+0000", "+01234567890", "a+4912345678", "+4912", "1e+10", "+12345678901234567890", "+"})
        EXPECT_EQ(masked(other), other);
}

TEST(PersonalData, BankAccounts) {
    for (auto const* const iban :
         {"DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "NO9386011117947"})
        EXPECT_EQ(masked("from " + std::string(iban) + ";"), "from [iban];") << iban;
    for (auto const* const other :
         {"DE89370400440532013001", "XDE89370400440532013000", "AZURE_OPENAI_API_KEY", "ABCD12345678901234"})
        EXPECT_EQ(masked(other), other);
}

TEST(PersonalData, SeveralInOneText) {
    EXPECT_EQ(masked("4111111111111111 +49 30 901820"), "[card] [phone]");
    EXPECT_EQ(masked(""), "");
    EXPECT_FALSE(may_hold_personal_data("/v1/chat/completions"));
}

} // namespace
} // namespace parley::core

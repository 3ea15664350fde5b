#include "net/form.hpp"

#include <gtest/gtest.h>

#include "core/percent.hpp"

namespace parley::net {
namespace {

TEST(Form, EncodesAllButUnreservedCharacters) {
    EXPECT_EQ(core::percent_encode("aZ09-._~"), "aZ09-._~");
    EXPECT_EQ(core::percent_encode("a b&c=d+/\xc3\xa4"), "a%20b%26c%3Dd%2B%2F%C3%A4");
    std::string form;
    append_form(form, "a", "1 2");
    append_form(form, "b", "");
    EXPECT_EQ(form, "a=1%202&b=");
    std::string url = "https://host/authorize?tenant=1";
    append_form(url, "c", "x");
    EXPECT_EQ(url, "https://host/authorize?tenant=1&c=x");
    url = "https://host/authorize?";
    append_form(url, "c", "x");
    EXPECT_EQ(url, "https://host/authorize?c=x");
}

TEST(Form, FindsADecodedValue) {
    constexpr std::string_view kQuery = "code=a%2Bb&state=c+d&empty=&flag&iss=https%3A%2F%2Fas";
    EXPECT_EQ(form_value(kQuery, "code").value(), "a+b");
    EXPECT_EQ(form_value(kQuery, "state").value(), "c d");
    EXPECT_EQ(form_value(kQuery, "empty").value(), "");
    EXPECT_EQ(form_value(kQuery, "flag").value(), "");
    EXPECT_EQ(form_value(kQuery, "iss").value(), "https://as");
    EXPECT_EQ(form_value(kQuery, "nothing").value(), std::nullopt);
    EXPECT_EQ(form_value("", "code").value(), std::nullopt);
}

TEST(Form, RefusesWhatIsAmbiguous) {
    EXPECT_FALSE(form_value("code=1&state=2&code=3", "code"));
    EXPECT_FALSE(form_value("code=1&c%6Fde=3", "code"));
    EXPECT_FALSE(form_value("code=%zz", "code"));
    EXPECT_EQ(form_value("x=%zz&code=1", "code").value(), "1");
}

} // namespace
} // namespace parley::net

#include "net/url.hpp"

#include <gtest/gtest.h>

namespace parley::net {
namespace {

TEST(Url, ReadsWhatAConfigurationNames) {
    auto const url = parse_url("https://example.org/openai/v1/");
    ASSERT_TRUE(url);
    EXPECT_TRUE(url->tls);
    EXPECT_EQ(url->host, "example.org");
    EXPECT_EQ(url->port, 443);
    EXPECT_EQ(url->path, "/openai/v1");
    EXPECT_EQ(url->authority(), "example.org");
    EXPECT_TRUE(parse_url("HTTPS://example.org")->tls);
    EXPECT_FALSE(parse_url("Http://example.org")->tls);
    auto const v6 = parse_url("http://[::1]:8080");
    ASSERT_TRUE(v6);
    EXPECT_EQ(v6->host, "::1");
    EXPECT_EQ(v6->authority(), "[::1]:8080");
}

TEST(Url, RefusesTheRest) {
    for (auto const* text :
         {"", "example.org", "ftp://example.org", "http://", "http://u:p@example.org", "http://example.org?a=b",
          "http://example.org#x", "http://example.org:99999", "http://exa mple.org"}) {
        EXPECT_FALSE(parse_url(text)) << text;
    }
}

TEST(Url, DecodesOneSegment) {
    EXPECT_EQ(*decode_segment("org%2Fmodel:1@x"), "org/model:1@x");
    for (auto const* text : {"%", "%2", "a%zz", "%00"})
        EXPECT_FALSE(decode_segment(text)) << text;
}

} // namespace
} // namespace parley::net

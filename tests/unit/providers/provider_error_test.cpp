// What providers' errors come to mean. Whole answers of each provider are fixtures (tests/golden/); here are the rules.
#include "providers/provider_error.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <string_view>

namespace parley::providers {
namespace {

using core::Errc;
using std::chrono::milliseconds;

std::chrono::system_clock::time_point now() {
    using namespace std::chrono;
    return sys_days(year(2026) / 11 / 21) + hours(10);
}

Errc code_of(int status, std::string_view body = {}) {
    return error_from_answer({status, body, {}, {}}).code;
}

TEST(ProviderError, StatusAloneIsEnough) {
    EXPECT_EQ(code_of(301), Errc::kUpstreamInvalid);
    EXPECT_EQ(code_of(400), Errc::kUpstreamRejected);
    EXPECT_EQ(code_of(401), Errc::kUpstreamAuth);
    EXPECT_EQ(code_of(402), Errc::kInsufficientQuota);
    EXPECT_EQ(code_of(403), Errc::kUpstreamAuth);
    EXPECT_EQ(code_of(404), Errc::kUpstreamRejected);
    EXPECT_EQ(code_of(408), Errc::kUpstreamTimeout);
    EXPECT_EQ(code_of(413), Errc::kPayloadTooLarge);
    EXPECT_EQ(code_of(422), Errc::kUpstreamRejected);
    EXPECT_EQ(code_of(429), Errc::kRateLimited);
    EXPECT_EQ(code_of(500), Errc::kUpstreamFailed);
    EXPECT_EQ(code_of(502), Errc::kUpstreamFailed);
    EXPECT_EQ(code_of(503), Errc::kUpstreamOverloaded);
    EXPECT_EQ(code_of(504), Errc::kUpstreamTimeout);
    EXPECT_EQ(code_of(524), Errc::kUpstreamTimeout);
    EXPECT_EQ(code_of(529), Errc::kUpstreamOverloaded);
    for (int const status : {300, 400, 401, 404, 429, 500, 503, 599}) {
        auto const error = error_from_answer({status, {}, {}, {}});
        EXPECT_FALSE(error.message.empty()) << status;
        EXPECT_EQ(error.upstream_status, status);
    }
}

TEST(ProviderError, ReadsEveryShapeOfBody) {
    struct Row {
        char const* body;
        char const* message;
    };
    for (auto const& row : {Row{R"({"error":{"message":"m"}})", "m"}, Row{R"({"error":"m"})", "m"},
                            Row{R"({"message":"m","code":"x"})", "m"}, Row{R"({"detail":"m"})", "m"},
                            Row{R"({"detail":[{"msg":"m"}]})", "m"}, Row{R"([{"error":{"message":"m"}}])", "m"},
                            Row{R"("m")", "m"}, Row{"m", "m"}, Row{R"({"error":{"code":500,"message":"m"}})", "m"},
                            Row{R"({"errors":[]})", "The provider failed (HTTP 500)."},
                            Row{"<html>m</html>", "The provider failed (HTTP 500)."}, Row{"[[[[", "[[[["},
                            Row{"", "The provider failed (HTTP 500)."}}) {
        EXPECT_EQ(error_from_answer({500, row.body, {}, {}}).message, row.message) << row.body;
    }
}

TEST(ProviderError, DeepOrHugeBodiesAreHarmless) {
    std::string const deep(200'000, '[');
    EXPECT_EQ(code_of(500, deep), Errc::kUpstreamFailed);
    std::string const huge = R"({"error":{"message":")" + std::string(3'000'000, 'x') + R"("}})";
    EXPECT_LT(error_from_answer({500, huge, {}, {}}).message.size(), 100U);
    std::string const long_text = R"({"error":{"message":")" + std::string(100'000, 'y') + R"("}})";
    auto const error = error_from_answer({400, long_text, {}, {}});
    EXPECT_LE(error.message.size(), kProviderMessageBytesMax + 3);
    EXPECT_LE(error.detail.size(), 600U);
}

TEST(ProviderError, InsideAStreamTheCodeIsTheStatus) {
    EXPECT_EQ(error_from_json(R"({"error":{"code":429,"message":"m"}})").code, Errc::kRateLimited);
    EXPECT_EQ(error_from_json(R"({"code":"503","message":"m"})").code, Errc::kUpstreamOverloaded);
    EXPECT_EQ(error_from_json(R"({"code":401,"message":"m"})").code, Errc::kUpstreamAuth);
    EXPECT_EQ(error_from_json(R"({"type":"overloaded_error","message":"m"})").code, Errc::kUpstreamOverloaded);
    EXPECT_EQ(error_from_json(R"({"type":"invalid_request_error","message":"m"})").code, Errc::kUpstreamRejected);
    EXPECT_EQ(error_from_json(R"("it broke")").code, Errc::kUpstreamFailed);
    EXPECT_EQ(error_from_json(R"("it broke")").message, "it broke");
    EXPECT_EQ(error_from_json("{}").code, Errc::kUpstreamFailed);
    EXPECT_EQ(error_from_json(R"({"code":"rate_limit_exceeded","message":"m"})").upstream_status, 0);
    EXPECT_EQ(error_from_json(R"({"code":99999,"message":"m"})").upstream_status, 0);
    EXPECT_EQ(error_from_code("rate_limit_exceeded", "slow").code, Errc::kRateLimited);
    EXPECT_EQ(error_from_code("server_error", "broke").message, "broke");
    EXPECT_EQ(error_from_code("", "").code, Errc::kUpstreamFailed);
}

TEST(ProviderError, QuotaIsNotToBeRetried) {
    auto const error = error_from_json(R"({"code":"insufficient_quota","message":"m"})");
    EXPECT_EQ(error.code, Errc::kInsufficientQuota);
    EXPECT_EQ(error.should_retry, false);
    EXPECT_EQ(error_from_answer({429, "{}", {}, {}}).should_retry, std::nullopt);
}

TEST(ProviderError, CredentialsNeverShow) {
    for (std::string const key : {"sk-proj-AbCdEf0123456789xyz", "gsk_AbCdEf0123456789", "eyJhbGciOi.eyJzdWIiOi.SflKxw",
                                  "0123456789abcdef0123456789abcdef",
                                  "Bx9Zk2Lm4Np6Qr8St0Uv1Wx3Yz5Ab7Cd9Ef1Gh3Ij5Kl7Mn9Op1Qr3St5Uv7Wx9Yz1AbACOGabcd"}) {
        std::string const body = R"({"error":{"message":"Bad key )" + key + R"( given","code":400}})";
        auto const error = error_from_answer({400, body, {}, {}});
        EXPECT_EQ(error.message, "Bad key [redacted] given");
        EXPECT_EQ(error.detail.find(key), std::string::npos) << error.detail;
        EXPECT_EQ(error_unreadable("w", "<p>" + key + "</p>").detail.find(key), std::string::npos);
    }
    EXPECT_EQ(without_credentials("Authorization: Bearer abcdefgh12", 100), "Authorization: Bearer [redacted]");
    EXPECT_EQ(without_credentials("request 123e4567-e89b-12d3-a456-426614174000", 100),
              "request 123e4567-e89b-12d3-a456-426614174000");
    EXPECT_EQ(without_credentials("the sk-learn package", 100), "the sk-learn package");
}

TEST(ProviderError, TextsAreShortenedAtACharacterAndRepaired) {
    EXPECT_EQ(without_credentials("abcdef", 3), "abc…");
    EXPECT_EQ(without_credentials("ab\xE2\x82\xAC", 4), "ab…");
    EXPECT_EQ(without_credentials("a\xFFz", 10), "a\xEF\xBF\xBDz");
    EXPECT_EQ(without_credentials("", 10), "");
}

TEST(ProviderError, AnUnreadableAnswerSaysWhatItIs) {
    EXPECT_EQ(error_unreadable("it is empty.", "x").message, "The provider's answer cannot be read: it is empty.");
    EXPECT_NE(error_unreadable("x", " \n<!doctype html>").message.find("web page"), std::string::npos);
    EXPECT_EQ(error_unreadable("x", {}).code, Errc::kUpstreamInvalid);
    EXPECT_EQ(error_truncated().code, Errc::kUpstreamTruncated);
}

TEST(RetryAfter, ReadsSecondsMillisecondsAndDates) {
    auto const wait = [](std::string_view seconds, std::string_view ms = {}) {
        return parse_retry_after(seconds, ms, now());
    };
    EXPECT_EQ(wait("2"), milliseconds(2000));
    EXPECT_EQ(wait(" 0.25 "), milliseconds(250));
    EXPECT_EQ(wait("0"), milliseconds(0));
    EXPECT_EQ(wait("5", "1500"), milliseconds(1500));
    EXPECT_EQ(wait("5", "20.4"), milliseconds(21));
    EXPECT_EQ(wait("5", "soon"), milliseconds(5000));
    EXPECT_EQ(wait("Sat, 21 Nov 2026 10:00:07 GMT"), milliseconds(7000));
    EXPECT_EQ(wait("Sat, 21 Nov 2026 09:00:00 GMT"), milliseconds(0));
    EXPECT_EQ(wait("Sun, 22 Nov 2026 10:00:00 GMT"), kRetryAfterMax);
    EXPECT_EQ(wait("Sun, 31 Dec 2400 23:59:59 GMT"), kRetryAfterMax);
    EXPECT_EQ(wait("Fri, 31 Dec 9999 23:59:59 GMT"), kRetryAfterMax);
    EXPECT_EQ(wait("Mon, 01 Jan 0001 00:00:00 GMT"), milliseconds(0));
    EXPECT_EQ(wait("1000000000"), kRetryAfterMax);
    EXPECT_EQ(wait("9" + std::string(400, '9')), kRetryAfterMax);
    for (auto const bad : {"", "-1", "+5", "soon", "5s", "1e3", "nan", "inf", "Sat, 31 Feb 2026 10:00:00 GMT",
                           "Sat, 21 Xxx 2026 10:00:00 GMT", "Saturday, 21-Nov-26 10:00:00 GMT"}) {
        EXPECT_EQ(wait(bad), std::nullopt) << bad;
    }
}

TEST(RetryAfter, IsFoundInWordsWhenNoHeaderSaysIt) {
    auto const wait = [](std::string const& text) { return error_from_code("429", text).retry_after; };
    EXPECT_EQ(wait("Please retry after 37 seconds."), milliseconds(37'000));
    EXPECT_EQ(wait("Please try again in 1.2s."), milliseconds(1200));
    EXPECT_EQ(wait("Please try again in 20ms."), milliseconds(20));
    EXPECT_EQ(wait("Please try again in 0m12.5s."), milliseconds(12'500));
    EXPECT_EQ(wait("Please retry in 8.1s."), milliseconds(8100));
    EXPECT_EQ(wait("Please try again in 1h2m3s."), kRetryAfterMax);
    EXPECT_EQ(wait("Please try again in a while."), std::nullopt);
    EXPECT_EQ(wait("Please try again in 3 parsecs."), std::nullopt);
    EXPECT_EQ(error_from_code("500", "try again in 2s").retry_after, std::nullopt);
}

} // namespace
} // namespace parley::providers

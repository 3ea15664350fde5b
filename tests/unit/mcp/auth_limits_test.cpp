// Servers that mean no good, or never have enough: where an authorizer stops, and what it never says or shows.
#include <gtest/gtest.h>

#include "tests/fakes/fake_oauth.hpp"

namespace parley::mcp {
namespace {

using fakes::FakeOAuth;
using Grant = OAuthOptions::Grant;

class AuthLimitsTest : public ::testing::Test {
protected:
    static core::Awaitable<void> ask(Authorizer& authorizer, int status, std::string www_authenticate,
                                     std::optional<core::Result<bool>>& result) {
        core::Cancellation cancellation;
        core::Context const context{cancellation};
        result = co_await authorizer.challenged(context, status, www_authenticate, "");
    }

    core::Result<bool> challenge(Authorizer& authorizer, std::string const& www_authenticate = "Bearer",
                                 int status = 401) {
        std::optional<core::Result<bool>> result;
        server_.loop.context().restart();
        server_.run([&] { return ask(authorizer, status, www_authenticate, result); });
        return std::move(*result);
    }

    /// Expects a refusal in plain words that holds `part`.
    void refused(std::string_view part, std::string const& www_authenticate = "Bearer") {
        auto const authorizer = server_.make();
        auto const result = challenge(*authorizer, www_authenticate);
        ASSERT_FALSE(result);
        EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
        EXPECT_TRUE(server_.authorize_queries.empty());
        EXPECT_TRUE(server_.token_requests.empty());
    }

    FakeOAuth server_;
};

TEST_F(AuthLimitsTest, NobodyToApproveIsSaidWithTheWayOut) {
    auto const authorizer = server_.make(false);
    auto const result = challenge(*authorizer);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, core::Errc::kUpstreamAuth);
    EXPECT_NE(result.error().message.find("oauth.client_secret"), std::string::npos);
    EXPECT_TRUE(server_.paths.empty());
}

TEST_F(AuthLimitsTest, PrivateAddressesAndPlainHttpAreRefused) {
    for (auto const* const url :
         {"http://169.254.169.254/latest/meta-data", "https://10.0.0.1/x", "https://192.168.1.1/",
          "http://example.com/x", "https://[fd00::1]/", "https://0x0a000001/", "ftp://127.0.0.1/",
          "https://user:pw@127.0.0.1/", "nonsense", "https://a/ x"}) {
        auto const authorizer = server_.make();
        auto const result = challenge(*authorizer, "Bearer resource_metadata=\"" + std::string(url) + "\"");
        ASSERT_FALSE(result) << url;
        EXPECT_EQ(result.error().code, core::Errc::kUpstreamAuth) << url;
    }
    EXPECT_TRUE(server_.paths.empty());
}

TEST_F(AuthLimitsTest, APublicServerCannotSendUsToThisMachine) {
    server_.spec->url = core::Secret("https://203.0.114.1/mcp"); // nobody connects there in this test
    for (auto const& url : {server_.origin + "/x", "https://127.0.0.1:" + std::to_string(server_.port) + "/x",
                            "https://localhost:" + std::to_string(server_.port) + "/x"}) {
        refused("refused", "Bearer resource_metadata=\"" + url + "\"");
    }
    EXPECT_TRUE(server_.paths.empty());
}

TEST_F(AuthLimitsTest, AnAuthorizationPageElsewhereIsNotOpened) {
    server_.extra = {{"/.well-known/oauth-authorization-server",
                      {.body = R"({"issuer":")" + server_.origin + R"(","token_endpoint":")" + server_.origin +
                               R"(/token","authorization_endpoint":"http://192.168.0.1/authorize",)" +
                               R"("registration_endpoint":")" + server_.origin +
                               R"(/register","code_challenge_methods_supported":["S256"]})"}}};
    refused("refused");
}

TEST_F(AuthLimitsTest, CodesDoNotTravelInTheClear) {
    for (auto const* const uri :
         {"", "http://example.com/callback", "http://localhost.example.com/cb", "https://", "x"}) {
        server_.spec->oauth.redirect_uri = uri;
        refused("oauth.redirect_uri");
    }
}

TEST_F(AuthLimitsTest, RedirectsOfMetadataAreNotFollowed) {
    net::Response response{.status = 302};
    response.headers.emplace_back("location", server_.origin + "/elsewhere");
    server_.extra = {{"/.well-known/oauth-authorization-server", response}};
    refused("publishes no metadata");
    EXPECT_EQ(server_.count("/elsewhere"), 0U);
}

TEST_F(AuthLimitsTest, LargeAnswersAreNotRead) {
    server_.resource_more = R"(,"x":")" + std::string(70'000, 'x') + '"';
    refused("larger than 65536");
}

TEST_F(AuthLimitsTest, AnotherResourceIsRefused) {
    server_.resource = "https://evil.example.com/mcp";
    refused("another resource");
}

TEST_F(AuthLimitsTest, ConfiguredCredentialsStayWithTheirIssuer) {
    server_.spec->oauth.issuer = "https://honest.example.com";
    server_.spec->oauth.client_id = "me";
    server_.spec->oauth.client_secret = core::Secret("s");
    server_.spec->oauth.grant = Grant::kClientCredentials;
    refused("oauth.issuer");
}

TEST_F(AuthLimitsTest, ConfiguredCredentialsAreNotShownToASecondIssuer) {
    server_.spec->oauth.client_id = "me";
    server_.spec->oauth.client_secret = core::Secret("s");
    server_.spec->oauth.grant = Grant::kClientCredentials;
    auto const authorizer = server_.make();
    ASSERT_TRUE(challenge(*authorizer).value());
    auto const other = "http://localhost:" + std::to_string(server_.port);
    server_.issuer = other;
    server_.now += std::chrono::minutes(5);
    auto const result = challenge(*authorizer);
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().message.find("another authorization server"), std::string::npos) << result.error().message;
    EXPECT_EQ(server_.token_requests.size(), 1U);
}

TEST_F(AuthLimitsTest, AFailedExchangeIsNotTriedAnotherWayNorAtOnceAgain) {
    server_.spec->oauth.grant = Grant::kJwtBearer;
    server_.spec->oauth.assertion = core::Secret("header.the-assertion.signature");
    server_.token_answer = [](std::string const&) {
        return net::Response{
            .status = 400,
            .body = R"({"error":"invalid_grant","error_description":"header.the-assertion.signature is expired"})"};
    };
    auto const authorizer = server_.make();
    for (auto i = 0; i < 3; ++i) {
        auto const result = challenge(*authorizer);
        ASSERT_FALSE(result);
        EXPECT_NE(result.error().message.find("invalid_grant"), std::string::npos);
        EXPECT_EQ((result.error().message + result.error().detail).find("the-assertion"), std::string::npos);
    }
    ASSERT_EQ(server_.token_requests.size(), 1U);
    EXPECT_EQ(FakeOAuth::field(server_.token_requests[0], "grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    server_.now += std::chrono::minutes(1);
    EXPECT_FALSE(challenge(*authorizer));
    EXPECT_EQ(server_.token_requests.size(), 2U);
}

TEST_F(AuthLimitsTest, FreshTokensThatAreRefusedEndIt) {
    auto const authorizer = server_.make();
    auto good = 0;
    for (auto i = 0; i < 10; ++i) {
        auto const result = challenge(*authorizer);
        good += result ? 1 : 0;
    }
    EXPECT_EQ(good, 3);
    EXPECT_EQ(server_.authorize_queries.size(), 3U);
    server_.now += std::chrono::minutes(1); // refused for its age now
    EXPECT_TRUE(challenge(*authorizer).value());
}

TEST_F(AuthLimitsTest, StepUpsEndAfterThreeAuthorizations) {
    auto const authorizer = server_.make();
    ASSERT_TRUE(challenge(*authorizer, R"(Bearer scope="read")").value());
    auto const more = R"(Bearer error="insufficient_scope", scope="admin")";
    EXPECT_TRUE(challenge(*authorizer, more, 403).value());
    EXPECT_TRUE(challenge(*authorizer, more, 403).value());
    auto const result = challenge(*authorizer, more, 403);
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().message.find("admin"), std::string::npos);
    EXPECT_EQ(server_.authorize_queries.size(), 3U);
    EXPECT_EQ(FakeOAuth::field(server_.authorize_queries[2], "scope"), "read admin");
    EXPECT_TRUE(challenge(*authorizer, R"(Bearer error="insufficient_scope", scope="write")", 403).value());
    EXPECT_EQ(FakeOAuth::field(server_.authorize_queries[3], "scope"), "read admin write");
    EXPECT_FALSE(challenge(*authorizer, R"(Bearer error="insufficient_scope")", 403));
}

TEST_F(AuthLimitsTest, TokensThatWouldBreakAHeaderAreRefused) {
    for (auto const* const token : {"a\\r\\nx: y", "a b", "", "\\u00e4"}) {
        server_.token_answer = [token](std::string const&) {
            return net::Response{.body = R"({"token_type":"Bearer","access_token":")" + std::string(token) + "\"}"};
        };
        auto const authorizer = server_.make();
        auto const result = challenge(*authorizer);
        ASSERT_FALSE(result) << token;
        EXPECT_EQ(result.error().code, core::Errc::kUpstreamInvalid);
    }
}

TEST_F(AuthLimitsTest, ModernServersMustPublishTheirResource) {
    server_.extra = {{"/.well-known/oauth-protected-resource/mcp", {.status = 404}}};
    server_.spec->era = Era::kModern;
    refused("publishes no protected resource metadata");
}

} // namespace
} // namespace parley::mcp

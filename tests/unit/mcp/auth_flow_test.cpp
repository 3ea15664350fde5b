// From a challenge to a token, against real connections to a scripted server. What each specification asks for on the
// wire is the conformance suite's; here is what it does not look at.
#include <gtest/gtest.h>

#include "tests/fakes/fake_oauth.hpp"

namespace parley::mcp {
namespace {

using fakes::FakeOAuth;
using Grant = OAuthOptions::Grant;

class AuthFlowTest : public ::testing::Test {
protected:
    struct Step {
        int status = 401;
        std::string challenge = "Bearer";
        std::optional<std::string> sent = {};
        std::string nonce = {};
    };

    static core::Awaitable<void> challenge_once(Authorizer& authorizer, Step step,
                                                std::optional<core::Result<bool>>& result) {
        core::Cancellation cancellation;
        core::Context const context{cancellation};
        std::optional<std::string_view> sent;
        if (step.sent) sent = *step.sent;
        result = co_await authorizer.challenged(context, step.status, step.challenge, step.nonce, sent);
    }

    static core::Awaitable<void> get_headers(Authorizer& authorizer, std::string url,
                                             std::optional<core::Result<std::string>>& result) {
        core::Cancellation cancellation;
        core::Context const context{cancellation};
        result = co_await authorizer.headers(context, "POST", url);
    }

    core::Result<bool> challenge(Authorizer& authorizer, Step step) {
        std::optional<core::Result<bool>> result;
        server_.loop.context().restart();
        server_.run([&] { return challenge_once(authorizer, step, result); });
        return std::move(*result);
    }

    std::string headers(Authorizer& authorizer) { return headers(authorizer, server_.origin + "/mcp"); }
    std::string headers(Authorizer& authorizer, std::string const& url) {
        std::optional<core::Result<std::string>> result;
        server_.loop.context().restart();
        server_.run([&] { return get_headers(authorizer, url, result); });
        return result->value();
    }

    static constexpr std::string_view kFirst = "authorization: Bearer token-1\r\n";
    static constexpr std::string_view kSecond = "authorization: Bearer token-2\r\n";
    FakeOAuth server_;
};

TEST_F(AuthFlowTest, ACodeBecomesATokenForThisServerOnly) {
    auto const authorizer = server_.make();
    EXPECT_EQ(headers(*authorizer), "");
    EXPECT_TRUE(challenge(*authorizer, {.sent = ""}).value());
    EXPECT_EQ(headers(*authorizer), kFirst);
    EXPECT_EQ(headers(*authorizer, "http://127.0.0.1:1/mcp"), "");
    auto const& form = server_.token_requests.at(0);
    EXPECT_EQ(FakeOAuth::field(form, "grant_type"), "authorization_code");
    EXPECT_EQ(FakeOAuth::field(form, "code"), "the-code");
    EXPECT_EQ(FakeOAuth::field(form, "resource"), server_.resource);
    EXPECT_EQ(FakeOAuth::field(form, "client_secret"), "(absent)");
    EXPECT_EQ(server_.token_authorizations.at(0), "Basic Y2xpZW50LTE6czNjcmV0"); // client-1:s3cret
    EXPECT_NE(server_.registrations.at(0).find(R"("application_type":"native")"), std::string::npos);
    EXPECT_NE(server_.registrations.at(0).find("refresh_token"), std::string::npos);
}

core::Awaitable<void> together(Authorizer& authorizer, int& left, net::Loop& loop, std::vector<bool>& results) {
    core::Cancellation cancellation;
    core::Context const context{cancellation};
    auto const result = co_await authorizer.challenged(context, 401, "Bearer", "", "");
    results.push_back(result && *result);
    if (--left == 0) loop.stop();
}

TEST_F(AuthFlowTest, ManyAtOnceGetOneToken) {
    auto const authorizer = server_.make();
    auto left = 20;
    std::vector<bool> results;
    for (auto i = 0; i < 20; ++i) {
        boost::asio::co_spawn(server_.loop.context(), together(*authorizer, left, server_.loop, results),
                              [](std::exception_ptr error) { EXPECT_FALSE(error); });
    }
    server_.loop.run();
    EXPECT_EQ(results, std::vector<bool>(20, true));
    EXPECT_EQ(server_.token_requests.size(), 1U);
    EXPECT_EQ(server_.authorize_queries.size(), 1U);
}

TEST_F(AuthFlowTest, ALateAnswerToAnOldTokenCostsNothing) {
    auto const authorizer = server_.make();
    ASSERT_TRUE(challenge(*authorizer, {.sent = ""}).value());
    EXPECT_TRUE(challenge(*authorizer, {.sent = ""}).value());
    EXPECT_TRUE(challenge(*authorizer, {.sent = "authorization: Bearer older\r\n"}).value());
    EXPECT_EQ(server_.token_requests.size(), 1U);
    EXPECT_TRUE(challenge(*authorizer, {.sent = std::string(kFirst)}).value());
    EXPECT_EQ(headers(*authorizer), kSecond);
}

TEST_F(AuthFlowTest, ATokenIsRefreshedShortlyBeforeItsEnd) {
    server_.token_more = R"(,"expires_in":3600,"refresh_token":"refresh-me")";
    auto const authorizer = server_.make();
    ASSERT_TRUE(challenge(*authorizer, {}).value());
    server_.now += std::chrono::seconds(3569);
    EXPECT_EQ(headers(*authorizer), kFirst);
    server_.now += std::chrono::seconds(2);
    EXPECT_EQ(headers(*authorizer), kSecond);
    auto const& form = server_.token_requests.at(1);
    EXPECT_EQ(FakeOAuth::field(form, "grant_type"), "refresh_token");
    EXPECT_EQ(FakeOAuth::field(form, "refresh_token"), "refresh-me");
    EXPECT_EQ(FakeOAuth::field(form, "resource"), server_.resource);
    EXPECT_EQ(server_.authorize_queries.size(), 1U); // nobody was asked again
}

TEST_F(AuthFlowTest, ARefreshThatFailsIsNoFaultOfTheRequest) {
    server_.token_more = R"(,"expires_in":3600,"refresh_token":"refresh-me")";
    auto const authorizer = server_.make();
    ASSERT_TRUE(challenge(*authorizer, {}).value());
    auto const answer = server_.token_answer;
    server_.token_answer = [](std::string const&) { return net::Response{.status = 503}; };
    server_.now += std::chrono::seconds(3590);
    EXPECT_EQ(headers(*authorizer), kFirst);
    EXPECT_EQ(headers(*authorizer), kFirst);
    EXPECT_EQ(server_.token_requests.size(), 2U); // not at every request
    server_.token_answer = answer;
    server_.now += std::chrono::seconds(40);
    EXPECT_EQ(headers(*authorizer), "authorization: Bearer token-3\r\n");
    EXPECT_EQ(FakeOAuth::field(server_.token_requests.at(2), "refresh_token"), "refresh-me");
}

// Its refresh token is spent as soon as it was sent: the new one must not be lost with the request that came first.
TEST_F(AuthFlowTest, ARefreshOutlivesTheRequestThatNeededIt) {
    server_.token_more = R"(,"expires_in":3600,"refresh_token":"refresh-me")";
    auto const authorizer = server_.make();
    ASSERT_TRUE(challenge(*authorizer, {}).value());
    server_.now += std::chrono::seconds(3590);
    core::Cancellation client;
    auto const answer = server_.token_answer;
    server_.token_answer = [&](std::string const& form) {
        client.cancel();
        return answer(form);
    };
    core::Context const context{client};
    std::optional<core::Result<std::string>> result;
    auto ask = [&]() -> core::Awaitable<void> {
        result = co_await authorizer->headers(context, "POST", server_.origin + "/mcp");
    };
    server_.loop.context().restart();
    server_.run(ask);
    ASSERT_FALSE(*result);
    EXPECT_EQ(result->error().code, core::Errc::kCancelled);
    EXPECT_EQ(headers(*authorizer), kSecond);
    EXPECT_EQ(server_.token_requests.size(), 2U);
}

TEST_F(AuthFlowTest, AnOldTokenThatIsRefusedIsRefreshedFirst) {
    server_.token_more = R"(,"refresh_token":"refresh-me")";
    auto const authorizer = server_.make();
    ASSERT_TRUE(challenge(*authorizer, {}).value());
    server_.now += std::chrono::minutes(5);
    EXPECT_TRUE(challenge(*authorizer, {.sent = std::string(kFirst)}).value());
    EXPECT_EQ(FakeOAuth::field(server_.token_requests.at(1), "grant_type"), "refresh_token");
    EXPECT_EQ(server_.authorize_queries.size(), 1U);
    // A refresh token that is no longer good: everything anew.
    server_.token_answer = [answer = server_.token_answer](std::string const& form) {
        if (FakeOAuth::field(form, "grant_type") != "refresh_token") return answer(form);
        return net::Response{.status = 400, .body = R"({"error":"invalid_grant"})"};
    };
    server_.now += std::chrono::minutes(5);
    EXPECT_TRUE(challenge(*authorizer, {.sent = std::string(kSecond)}).value());
    EXPECT_EQ(server_.authorize_queries.size(), 2U);
    EXPECT_EQ(headers(*authorizer), "authorization: Bearer token-4\r\n");
}

TEST_F(AuthFlowTest, ClientCredentialsAreRenewedWithoutARefreshToken) {
    server_.token_more = R"(,"expires_in":"100")";
    server_.spec->oauth.grant = Grant::kAuto;
    server_.spec->oauth.client_id = "me";
    server_.spec->oauth.client_secret = core::Secret("a:b");
    auto const authorizer = server_.make(false);
    ASSERT_TRUE(challenge(*authorizer, {}).value());
    EXPECT_EQ(server_.token_authorizations.at(0), "Basic bWU6YSUzQWI="); // me:a%3Ab, RFC 6749 §2.3.1
    server_.now += std::chrono::seconds(89);
    EXPECT_EQ(headers(*authorizer), kFirst);
    server_.now += std::chrono::seconds(2); // a tenth of a short life
    EXPECT_EQ(headers(*authorizer), kSecond);
    EXPECT_EQ(server_.registrations.size(), 0U);
}

TEST_F(AuthFlowTest, ALostRegistrationIsMadeAnewOnce) {
    server_.token_answer = [this, answer = server_.token_answer](std::string const& form) {
        if (server_.registrations.size() > 1) return answer(form);
        return net::Response{.status = 401, .body = R"({"error":"invalid_client"})"};
    };
    auto const authorizer = server_.make();
    EXPECT_TRUE(challenge(*authorizer, {}).value());
    EXPECT_EQ(server_.registrations.size(), 2U);
}

TEST_F(AuthFlowTest, DpopIsUsedWhereBothSidesOfferIt) {
    server_.metadata_more = R"(,"dpop_signing_alg_values_supported":["ES256"])";
    server_.resource_more = R"(,"dpop_signing_alg_values_supported":["ES256"])";
    server_.token_answer = [](std::string const&) {
        return net::Response{.body = R"({"access_token":"bound","token_type":"DPoP"})"};
    };
    auto const authorizer = server_.make();
    ASSERT_TRUE(challenge(*authorizer, {}).value());
    EXPECT_NE(server_.token_proofs.at(0), "");
    EXPECT_NE(FakeOAuth::field(server_.authorize_queries.at(0), "dpop_jkt"), "(absent)");
    auto const lines = headers(*authorizer);
    EXPECT_TRUE(lines.starts_with("authorization: DPoP bound\r\ndpop: ey")) << lines;
    EXPECT_NE(headers(*authorizer), lines);
    // A nonce is all that is missing: no new token for it.
    EXPECT_TRUE(
        challenge(*authorizer, {.challenge = R"(DPoP error="use_dpop_nonce")", .sent = lines, .nonce = "n"}).value());
    EXPECT_TRUE(challenge(*authorizer, {.status = 400, .challenge = "", .sent = lines, .nonce = "m"}).value());
    EXPECT_EQ(server_.token_requests.size(), 1U);
}

TEST_F(AuthFlowTest, ABearerTokenIsNotTakenForABoundOne) {
    auto const authorizer = server_.make();
    auto const result = challenge(*authorizer, {.challenge = "DPoP"});
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().message.find("DPoP"), std::string::npos);
    EXPECT_EQ(headers(*authorizer), "");
}

TEST_F(AuthFlowTest, OtherStatusesAreNotOurs) {
    auto const authorizer = server_.make();
    for (auto const status : {200, 400, 403, 404, 500})
        EXPECT_FALSE(challenge(*authorizer, {.status = status}).value()) << status;
    EXPECT_TRUE(server_.paths.empty());
}

TEST_F(AuthFlowTest, WhoIsCancelledDoesNotWait) {
    auto const authorizer = server_.make();
    core::Cancellation cancellation;
    cancellation.cancel();
    core::Context const context{cancellation};
    std::optional<core::Result<bool>> result;
    auto ask = [&]() -> core::Awaitable<void> { result = co_await authorizer->challenged(context, 401, "Bearer", ""); };
    server_.run(ask);
    ASSERT_FALSE(*result);
    EXPECT_EQ(result->error().code, core::Errc::kCancelled);
    EXPECT_TRUE(server_.paths.empty());
}

} // namespace
} // namespace parley::mcp

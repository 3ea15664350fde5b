// PKCE, the authorisation URL, and which redirects are believed.
#include "mcp/auth_code.hpp"

#include <gtest/gtest.h>

#include "net/form.hpp"

namespace parley::mcp {
namespace {

constexpr std::string_view kRedirect = "http://localhost:3000/callback";

ServerMetadata server() {
    ServerMetadata out;
    out.issuer = "https://as.example.com";
    out.authorization_endpoint = "https://as.example.com/authorize";
    out.token_endpoint = "https://as.example.com/token";
    out.code_challenge_methods = {"S256"};
    return out;
}

core::Result<CodeAttempt> start(ServerMetadata const& at, Scopes const& scopes = {}, std::string_view jkt = {}) {
    return CodeAttempt::start("test", {at, "client", kRedirect, "https://mcp.example.com/mcp", scopes, jkt});
}

std::string query_value(std::string const& url, std::string_view name) {
    auto const value = net::form_value(std::string_view(url).substr(url.find('?') + 1), name).value();
    return value ? *value : "(absent)";
}

std::string redirect(CodeAttempt const& attempt, std::string_view more) {
    return std::string(kRedirect) + "?state=" + attempt.state + std::string(more);
}

TEST(Pkce, IsTheExampleOfRfc7636) {
    EXPECT_EQ(code_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
              "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

TEST(CodeAttempt, AsksWithEverythingThatIsDue) {
    auto const attempt = start(server(), {"a", "offline_access"}, "thumb").value();
    EXPECT_TRUE(attempt.url.starts_with("https://as.example.com/authorize?response_type=code&"));
    EXPECT_EQ(query_value(attempt.url, "client_id"), "client");
    EXPECT_EQ(query_value(attempt.url, "redirect_uri"), kRedirect);
    EXPECT_EQ(query_value(attempt.url, "resource"), "https://mcp.example.com/mcp");
    EXPECT_EQ(query_value(attempt.url, "scope"), "a offline_access");
    EXPECT_EQ(query_value(attempt.url, "state"), attempt.state);
    EXPECT_EQ(query_value(attempt.url, "code_challenge"), code_challenge(attempt.verifier));
    EXPECT_EQ(query_value(attempt.url, "code_challenge_method"), "S256");
    EXPECT_EQ(query_value(attempt.url, "prompt"), "consent");
    EXPECT_EQ(query_value(attempt.url, "dpop_jkt"), "thumb");
    EXPECT_EQ(attempt.url.find(attempt.verifier), std::string::npos);
    EXPECT_GE(attempt.verifier.size(), 43U); // RFC 7636 §4.1
}

TEST(CodeAttempt, LeavesOutWhatIsNotKnownAndKeepsTheEndpointsQuery) {
    auto at = server();
    at.authorization_endpoint += "?tenant=7";
    auto const attempt = start(at).value();
    EXPECT_TRUE(attempt.url.starts_with("https://as.example.com/authorize?tenant=7&response_type=code&"));
    EXPECT_EQ(query_value(attempt.url, "scope"), "(absent)");
    EXPECT_EQ(query_value(attempt.url, "dpop_jkt"), "(absent)");
    auto const other = start(at).value();
    EXPECT_NE(attempt.state, other.state);
    EXPECT_NE(attempt.verifier, other.verifier);
}

TEST(CodeAttempt, RefusesServersWithoutS256) {
    for (auto const& methods : {std::vector<std::string>{}, {"plain"}, {"s256"}}) {
        auto at = server();
        at.code_challenge_methods = methods;
        auto const attempt = start(at);
        ASSERT_FALSE(attempt);
        EXPECT_EQ(attempt.error().code, core::Errc::kUpstreamAuth);
    }
    auto at = server();
    at.authorization_endpoint.clear();
    EXPECT_FALSE(start(at));
}

TEST(Redirect, BringsItsCode) {
    auto const attempt = start(server()).value();
    EXPECT_EQ(attempt.code("test", redirect(attempt, "&code=a%2Fb")).value(), "a/b");
    EXPECT_EQ(attempt.code("test", redirect(attempt, "&code=c&iss=https%3A%2F%2Fas.example.com")).value(), "c");
}

TEST(Redirect, OfSomebodyElseIsRefused) {
    auto const attempt = start(server()).value();
    auto const other = start(server()).value();
    EXPECT_FALSE(attempt.code("test", redirect(other, "&code=c")));
    EXPECT_FALSE(attempt.code("test", std::string(kRedirect) + "?code=c"));
    EXPECT_FALSE(attempt.code("test", "http://localhost:3000/other?code=c&state=" + attempt.state));
    EXPECT_FALSE(attempt.code("test", "http://evil/callback?code=c&state=" + attempt.state));
    EXPECT_FALSE(attempt.code("test", redirect(attempt, "&code=c&state=" + attempt.state)));
    EXPECT_FALSE(attempt.code("test", redirect(attempt, "")));
    EXPECT_FALSE(attempt.code("test", redirect(attempt, "&code=")));
    EXPECT_FALSE(attempt.code("test", redirect(attempt, "&code=a&code=b")));
    EXPECT_FALSE(attempt.code("test", kRedirect));
}

TEST(Redirect, IssuerMustBeTheRecordedOneByteForByte) {
    auto at = server();
    for (auto const advertised : {false, true}) {
        at.iss_parameter = advertised;
        auto const attempt = start(at).value();
        EXPECT_EQ(attempt.code("test", redirect(attempt, "&code=c")).has_value(), !advertised);
        for (auto const* const iss : {"https%3A%2F%2Fas.example.com%2F", "https%3A%2F%2FAS.example.com",
                                      "https%3A%2F%2Fas.example.com%3A443", "https%3A%2F%2Fevil", ""}) {
            EXPECT_FALSE(attempt.code("test", redirect(attempt, std::string("&code=c&iss=") + iss))) << iss;
        }
    }
}

TEST(Redirect, ErrorsAreShownOnlyOfTheRightIssuer) {
    auto const attempt = start(server()).value();
    auto const denied = attempt.code("test", redirect(attempt, "&error=access_denied&error_description=x"));
    ASSERT_FALSE(denied);
    EXPECT_NE(denied.error().message.find("access_denied"), std::string::npos);
    auto const foreign = attempt.code("test", redirect(attempt, "&error=access_denied&iss=https%3A%2F%2Fevil"));
    ASSERT_FALSE(foreign);
    EXPECT_EQ(foreign.error().message.find("access_denied"), std::string::npos);
    auto const odd = attempt.code("test", redirect(attempt, "&error=%3Cscript%3E"));
    ASSERT_FALSE(odd);
    EXPECT_EQ(odd.error().message.find("script"), std::string::npos);
}

} // namespace
} // namespace parley::mcp

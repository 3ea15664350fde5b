// WWW-Authenticate as servers write it, and the choice of scopes.
#include <gtest/gtest.h>

#include "mcp/auth_metadata.hpp"

namespace parley::mcp {
namespace {

TEST(Challenge, ReadsTheExampleOfTheSpecification) {
    auto const challenge =
        parse_challenge(R"(Bearer resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource",)"
                        R"(                         scope="files:read")");
    EXPECT_TRUE(challenge.bearer);
    EXPECT_FALSE(challenge.dpop);
    EXPECT_EQ(challenge.resource_metadata, "https://mcp.example.com/.well-known/oauth-protected-resource");
    EXPECT_EQ(challenge.scopes, (Scopes{"files:read"}));
    EXPECT_EQ(challenge.error, "");
}

TEST(Challenge, ReadsSpacesCaseAndEscapes) {
    auto const challenge = parse_challenge(
        R"(bEaReR  Error = insufficient_scope ,SCOPE="a b  a c\"d" , error_description="say \"hi\", you")");
    EXPECT_TRUE(challenge.bearer);
    EXPECT_EQ(challenge.error, "insufficient_scope");
    EXPECT_EQ(challenge.scopes, (Scopes{"a", "b"})); // c"d is no scope-token
}

TEST(Challenge, KeepsSchemesApart) {
    auto const challenge = parse_challenge(
        R"(Basic realm="x", scope="not ours", Negotiate abc==, DPoP algs="ES256", error="use_dpop_nonce", Bearer scope="s")");
    EXPECT_TRUE(challenge.bearer);
    EXPECT_TRUE(challenge.dpop);
    EXPECT_EQ(challenge.error, "use_dpop_nonce");
    EXPECT_EQ(challenge.scopes, (Scopes{"s"}));
}

TEST(Challenge, TheFirstOfTwoCounts) {
    auto const challenge = parse_challenge(R"(Bearer resource_metadata="https://a", resource_metadata="https://b")");
    EXPECT_EQ(challenge.resource_metadata, "https://a");
}

TEST(Challenge, EndsAtWhatCannotBeRead) {
    for (auto const* const text : {"", ",", " , ,", "Bearer", "Bearer =", "Bearer scope",
                                   "Bearer scope=", "Bearer scope=\"a", "Bearer scope=\"a\\", "\"Bearer\"", "=",
                                   "Bearer \x01\x02", "Basic", "Negotiate abc==", "Bearer scope=\"\""}) {
        EXPECT_TRUE(parse_challenge(text).scopes.empty()) << text;
    }
}

TEST(Scopes, AreBounded) {
    std::string text;
    for (auto i = 0; i < 1000; ++i)
        text += "s" + std::to_string(i) + " ";
    EXPECT_EQ(parse_scopes(text).size(), 100U);
    EXPECT_EQ(unite(parse_scopes(text), {"one_more"}).size(), 100U);
    EXPECT_TRUE(parse_scopes(std::string(5000, 'x')).empty());
    EXPECT_EQ(join_scopes({"a", "b"}), "a b");
}

struct Choice {
    Scopes challenged = {};
    Scopes resource = {};
    Scopes asked = {};
    Scopes configured = {};
    Scopes server = {};
    bool wants_refresh = true;
    Scopes made() const { return choose_scopes({challenged, resource, asked, configured, server, wants_refresh}); }
};

TEST(ScopeChoice, TheChallengeComesBeforeTheResourceAndNothingIsNothing) {
    EXPECT_EQ((Choice{.challenged = {"c"}, .resource = {"r"}}.made()), (Scopes{"c"}));
    EXPECT_EQ((Choice{.resource = {"r", "s"}}.made()), (Scopes{"r", "s"}));
    EXPECT_EQ(Choice{}.made(), Scopes());
}

TEST(ScopeChoice, NothingGrantedBeforeIsLost) {
    EXPECT_EQ((Choice{.challenged = {"write"}, .resource = {"profile"}, .asked = {"read"}}.made()),
              (Scopes{"read", "write"}));
    EXPECT_EQ((Choice{.challenged = {"write"}, .configured = {"mine", "write"}}.made()), (Scopes{"write", "mine"}));
}

TEST(ScopeChoice, OfflineAccessOnlyWhereTheServerListsIt) {
    EXPECT_EQ((Choice{.challenged = {"a"}, .server = {"offline_access"}}.made()), (Scopes{"a", "offline_access"}));
    EXPECT_EQ((Choice{.challenged = {"a"}, .server = {"offline_access"}, .wants_refresh = false}.made()),
              (Scopes{"a"}));
    EXPECT_EQ((Choice{.challenged = {"a", "offline_access"}, .server = {"a"}}.made()), (Scopes{"a"}));
    EXPECT_EQ((Choice{.server = {"offline_access"}}.made()), Scopes()); // it would replace the default scopes
}

} // namespace
} // namespace parley::mcp

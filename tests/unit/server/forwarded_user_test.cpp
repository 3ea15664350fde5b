// Whose word is taken for whom: tokens as Open WebUI signs them, plain headers, keys of front ends.
#include "server/forwarded_user.hpp"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <string>
#include <utility>
#include <vector>

#include "core/base64.hpp"

namespace parley::server {
namespace {

using std::chrono::system_clock;

constexpr std::string_view kSecret = "a-shared-secret-of-enough-length";
constexpr std::int64_t kNow = 1'790'000'000;
constexpr std::string_view kHeader = R"({"alg":"HS256","typ":"JWT"})";

std::string token(std::string_view claims, std::string_view header = kHeader, std::string_view secret = kSecret) {
    auto const text = core::base64url(header) + "." + core::base64url(claims);
    unsigned char mac[32];
    unsigned size = 0;
    HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
         reinterpret_cast<unsigned char const*>(text.data()), text.size(), mac, &size);
    return text + "." + core::base64url({reinterpret_cast<char const*>(mac), size});
}

std::string claims(std::int64_t issued, std::int64_t expires, std::string_view user = "u-1") {
    return R"({"sub":")" + std::string(user) +
           R"(","email":"ada@example.org","name":"Ada","role":"user","iss":"open-webui",)" + R"("iat":)" +
           std::to_string(issued) + R"(,"exp":)" + std::to_string(expires) + "}";
}

std::string user(std::vector<net::Field> fields, UserForwarding const& forwarding,
                 std::string_view principal = "key:x") {
    net::RequestHead head;
    head.fields = std::move(fields);
    auto const found =
        forwarded_user(head, principal, forwarding, system_clock::time_point(std::chrono::seconds(kNow)));
    if (!found) return std::string(core::code_name(found.error().code)) + ": " + found.error().message;
    return *found ? **found : "none";
}

UserForwarding with_secret() {
    UserForwarding forwarding;
    forwarding.jwt_secret = core::Secret(std::string(kSecret));
    forwarding.trusts_everybody = true;
    return forwarding;
}

std::string user_of(std::string const& token) {
    return user({{"X-OpenWebUI-User-Jwt", token}}, with_secret());
}

TEST(ForwardedUser, ATokenNamesItsUser) {
    EXPECT_EQ(user_of(token(claims(kNow - 1, kNow + 299))), "u-1");
    EXPECT_EQ(user_of(token(claims(kNow + 59, kNow + 359))), "u-1") << "a clock that is ahead";
    EXPECT_EQ(user_of(token(claims(kNow - 359, kNow - 59))), "u-1") << "a clock that is behind";
    EXPECT_EQ(user_of(token(R"({"sub":"u-1","exp":1790000010.5})")), "u-1") << "a NumericDate may have a fraction";
}

TEST(ForwardedUser, ATokenThatDoesNotHoldIsAnErrorAndNeverTheKeysOwnRequest) {
    auto const good = claims(kNow, kNow + 300);
    auto const refused = [](std::string const& text) {
        auto const found = user_of(text);
        EXPECT_TRUE(found.starts_with("invalid_api_key: The user token in x-openwebui-user-jwt is not accepted: "))
            << found;
        return found.substr(found.find("accepted: ") + 10);
    };
    EXPECT_EQ(refused(token(good, kHeader, "another-secret-of-enough-length")),
              "Its signature does not fit the shared secret.");
    EXPECT_EQ(refused("nonsense"), "It is not a signed token (header.claims.signature).");
    EXPECT_EQ(refused(token(good, R"({"alg":"none"})")), "its algorithm is not HS256.");
    EXPECT_EQ(refused(token(good, R"({"alg":"HS512"})")), "its algorithm is not HS256.");
    EXPECT_EQ(refused(token(good, R"({"alg":"HS256","crit":["b64"]})")), "it has critical extensions.");
    EXPECT_EQ(refused(token(claims(kNow - 400, kNow - 61))),
              "it has expired; if it is new, the clocks of the two machines differ.");
    EXPECT_EQ(refused(token(claims(kNow + 61, kNow + 361))),
              "it is from the future: the clocks of the two machines differ.");
    EXPECT_EQ(refused(token(R"({"sub":"u-1"})")), "it says no time of expiry (exp).");
    EXPECT_EQ(refused(token(R"({"sub":"u-1","exp":"1790000300"})")), "it says no time of expiry (exp).");
    EXPECT_EQ(refused(token(claims(kNow, kNow + 300, ""))), "it names no user (sub).");
    EXPECT_EQ(refused(token("[]")), "its header or its claims are not a JSON object.");
    auto const twice =
        user({{"X-OpenWebUI-User-Jwt", token(good)}, {"x-openwebui-user-jwt", token(good)}}, with_secret());
    EXPECT_TRUE(twice.ends_with("there is more than one.")) << twice;
}

TEST(ForwardedUser, WithASecretPlainHeadersNameNobody) {
    EXPECT_EQ(user({{"X-OpenWebUI-User-Id", "u-2"}, {"X-User-Id", "u-3"}}, with_secret()), "none");
    EXPECT_EQ(user({{"X-OpenWebUI-User-Jwt", ""}}, with_secret()), "none") << "an empty header is an absent one";
}

TEST(ForwardedUser, PlainHeadersCountFromAFrontEndsKeyOrWhereThereAreNoKeys) {
    UserForwarding forwarding;
    forwarding.forwarder_keys = policy::ApiKeys::from_list("front-end-key");
    auto const front_end = *forwarding.forwarder_keys.principal("front-end-key");
    std::vector<net::Field> const fields{{"X-OpenWebUI-User-Id", "u-2"}, {"X-User-Id", "u-3"}};
    EXPECT_EQ(user(fields, forwarding, front_end), "u-2");
    EXPECT_EQ(user({{"X-OpenWebUI-User-Id", ""}, {"X-User-Id", "u-3"}}, forwarding, front_end), "u-3");
    EXPECT_EQ(user(fields, forwarding, "key:000000000000"), "none");
    forwarding.forwarder_keys = {};
    EXPECT_EQ(user(fields, forwarding, "anonymous"), "none");
    forwarding.trusts_everybody = true;
    EXPECT_EQ(user(fields, forwarding, "anonymous"), "u-2");
    EXPECT_EQ(user(fields, forwarding, "key:000000000000"), "none") << "as soon as there are keys";
    forwarding.user_headers = {"x-remote-user"};
    EXPECT_EQ(user(fields, forwarding, "anonymous"), "none");
    EXPECT_EQ(user({{"X-Remote-User", "u-4"}}, forwarding, "anonymous"), "u-4");
}

TEST(ForwardedUser, SaysWhatAnIdIs) {
    UserForwarding forwarding;
    forwarding.trusts_everybody = true;
    EXPECT_EQ(user({{"X-User-Id", std::string_view("a\tb")}}, forwarding, "anonymous"),
              "invalid_value: Invalid user in x-user-id: an id has 1 to 256 bytes and no control characters.");
    EXPECT_EQ(user({{"X-User-Id", std::string(256, 'x')}}, forwarding, "anonymous"), std::string(256, 'x'));
    EXPECT_EQ(user({{"X-User-Id", std::string(257, 'x')}}, forwarding, "anonymous").substr(0, 13), "invalid_value");
}

TEST(ForwardedUser, NoUserIsTakenForAKey) {
    EXPECT_EQ(user_principal("key:0123456789ab"), "user:key:0123456789ab");
    EXPECT_EQ(principal_named("alice"), "user:alice");
    EXPECT_EQ(principal_named("user:alice"), "user:alice");
    EXPECT_EQ(principal_named("key:0123456789ab"), "key:0123456789ab");
    EXPECT_EQ(principal_named("anonymous"), "anonymous");
}

} // namespace
} // namespace parley::server

// Signing against the examples of RFC 7515, and verifying what we sign with libcrypto by other ways than the code's
// own.
#include "net/jose.hpp"

#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <string>

#include "core/base64.hpp"
#include "tests/fakes/base64url.hpp"

namespace parley::net {
namespace {

// RFC 7515 appendix A.2 and A.3: published keys.
constexpr std::string_view kRsaPem = R"(-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCh+BYK4uPJtGXO
jS1lYmM2K5J9vinh8CR3/BYlzJChNuOL2TSXxbbqY913EeZ8dCn5VrD7io8ImtxL
aYk8wTM/U+3QGbh3hCUv7JFP5IV3aVlL6kKA0ywPVb9ilE8TA5a8bpvfbr3SvaNn
juygxmj3AbONv/s4yDQs4v5tJ/reSlpIdJed1LnPmt7Ex1sFhSwsD174pcF1A5L5
ROjtZMEQxrZHYJqkeDrrnGya11UxMFBji4NmXG9veoKjlnAqH2QbgtPr8jkiGUkf
toaHLFcW9Qr4NY2ai50Xw0Byj3+H2JoY2PyrZ62EWQwuz3WTOTY8BwNNb2BvniHg
VFbK5emhAgMBAAECggEAEq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyW
PEAeP88vLNO97IjlA7/GQ5sLKMgvfTeXZx9SE+7YwVol2NXOoAJe46sui395IW/G
O+pWJ1O0BkTGoVEn2bKVRUCgu+GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzj
kn439X0M/V51gfpRLI9JYanrC4D4qAdGcopV/0ZHHzQlBjudU2QvXt4ehNYTCBr6
XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl/x/jTj3ccPDVZFD9pIuhLhBOneufuBiB
4cS98l2SR/RQyGWSeWjnczT0QU91p1DhOVRuOopznQKBgQDgHMQQ60imZV1URk0K
pLttoLhyt3SmqdEf/kgHePDdtzEafpAu+cS191R2JiuoF2yzWXnwFDcqGigp5BNr
0AHQfD8/Lk8l1Mk09jxxCfui5nYooNyac8YFjm3vItzVCVDnEd3BbVWG8qf6deqE
lMGAg+C2V0L4oNXnP7LZcPAZRwKBgQC5A8R+CZW2MvRTLLHzwZkUXV866cff7tx6
kqa0finGG0KgeqlaZPxgCZnFp7AeAcCMtiynVlJ7vMVgePsLq6XtON4tB5kP9jAP
rq3rbAOal78eUH5OcED6eNuCV8ixEu1eWcPNCS/l1OW1EnXUEoEHKl54Xrrz2uNw
kgMTP1FZ1wKBgAcCn1dwJKufzBWQxWQp1vsM5fggqPN1qGb5y0MAk3g7/Ls5bkUp
5u9SN0Ai3Ya6hNnvWJMb7sXQX6U/zyO2M/hTip7tUeh7CXgwo59dkpN75gJLVds2
9+DAncu3KXU4f2Fa+7bLNrur53k8KwPOq2bbuTG69QtV7Jr5MR0AHWKNAoGBAIf/
evpitUf+4JYbLpvNXWcY052Mpz22aR84mY3nh3F2LF2mjMJDpTg7FmuyPcVw6EcG
yoAe9fa65iNqCq+jdw6PVNGo2hxfjSiZ8IIzHdsPXI89//pMjZcQK9r+CCoRjaZj
OYiIDktVWZzmevJuv6WywUqd57LE3Zar3dLSIkx1AoGAIYd7DHOhrWvxkwPQsRM2
tOgrjbcrfvtQJipd+DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd/QJQ3
ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp/gh6A56
03k2+ZQwVK0JKSHuLFkuQ3U=
-----END PRIVATE KEY-----
)";
constexpr std::string_view kEcPem = R"(-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIff
H1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGDy+5v20t7WAczNXvp
7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt
-----END PRIVATE KEY-----
)";

constexpr std::string_view kClaims =
    "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
constexpr std::string_view kClaimsEncoded =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

std::string member(std::string_view json, std::string_view name) {
    auto const key = "\"" + std::string(name) + "\":\"";
    auto const start = json.find(key) + key.size();
    return std::string(json.substr(start, json.find('"', start) - start));
}

/// Whether the compact JWS is signed by the EC key of `jwk`.
bool es256_verifies(std::string_view jws, std::string_view jwk) {
    auto const dot = jws.rfind('.');
    auto const raw = fakes::decode_base64url(jws.substr(dot + 1));
    if (raw.size() != 64) return false;
    auto const point = "\x04" + fakes::decode_base64url(member(jwk, "x")) + fakes::decode_base64url(member(jwk, "y"));
    auto* const build = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
    auto* const params = OSSL_PARAM_BLD_to_param(build);
    auto* const context = EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr);
    EVP_PKEY* key = nullptr;
    EVP_PKEY_fromdata_init(context);
    EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params);
    auto* const signature = ECDSA_SIG_new();
    auto const* const bytes = reinterpret_cast<unsigned char const*>(raw.data());
    ECDSA_SIG_set0(signature, BN_bin2bn(bytes, 32, nullptr), BN_bin2bn(bytes + 32, 32, nullptr));
    unsigned char* der = nullptr;
    auto const der_size = i2d_ECDSA_SIG(signature, &der);
    auto* const digest = EVP_MD_CTX_new();
    EVP_DigestVerifyInit(digest, nullptr, EVP_sha256(), nullptr, key);
    auto const good = EVP_DigestVerify(digest, der, static_cast<std::size_t>(der_size),
                                       reinterpret_cast<unsigned char const*>(jws.data()), dot) == 1;
    EVP_MD_CTX_free(digest);
    OPENSSL_free(der);
    ECDSA_SIG_free(signature);
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    return good;
}

TEST(Jose, Rs256GivesTheSignatureOfRfc7515) {
    auto const key = SigningKey::from_pem(kRsaPem, "RS256").value();
    EXPECT_EQ(key.algorithm(), "RS256");
    EXPECT_EQ(key.thumbprint(), "IsUn6_e04MaShXFIISMp4kG62LWzMIPy_MvSA5pJgX8");
    EXPECT_EQ(key.sign(R"({"alg":"RS256"})", kClaims).value(),
              "eyJhbGciOiJSUzI1NiJ9." + std::string(kClaimsEncoded) +
                  ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGb"
                  "ds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0Ga"
                  "rZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY"
                  "9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw");
}

TEST(Jose, Es256IsVerifiedByTheKeyOfRfc7515) {
    auto const key = SigningKey::from_pem(kEcPem, "ES256").value();
    constexpr std::string_view kJwk =
        R"({"crv":"P-256","kty":"EC","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})";
    EXPECT_EQ(key.public_jwk(), kJwk);
    EXPECT_EQ(key.thumbprint(), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
    auto const head = "eyJhbGciOiJFUzI1NiJ9." + std::string(kClaimsEncoded);
    // The verifier of this test takes the RFC's own signature, and no other.
    auto const published =
        head + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    ASSERT_TRUE(es256_verifies(published, kJwk));
    ASSERT_FALSE(es256_verifies("x" + published, kJwk));
    for (auto i = 0; i < 32; ++i) { // leading zeros of r and s must be kept: a few signatures have them
        auto const token = key.sign(R"({"alg":"ES256"})", kClaims).value();
        EXPECT_TRUE(token.starts_with(head + "."));
        EXPECT_TRUE(es256_verifies(token, kJwk));
    }
}

TEST(Jose, MadeKeysDifferAndVerify) {
    auto const one = SigningKey::generate_es256().value();
    auto const other = SigningKey::generate_es256().value();
    EXPECT_NE(one.public_jwk(), other.public_jwk());
    EXPECT_EQ(one.public_jwk().find("\"d\""), std::string::npos);
    auto const token = one.sign(R"({"alg":"ES256"})", "{}").value();
    EXPECT_TRUE(es256_verifies(token, one.public_jwk()));
    EXPECT_FALSE(es256_verifies(token, other.public_jwk()));
}

// The verifier also takes the example of RFC 9449, section 4.1, whose key has the thumbprint of its section 6.1.
TEST(Jose, TheVerifierTakesTheProofOfRfc9449) {
    constexpr std::string_view kProof =
        "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscE"
        "JoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19"
        ".eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwia"
        "WF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    EXPECT_TRUE(es256_verifies(
        kProof,
        R"({"x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"})"));
}

TEST(Jose, RefusesWhatIsNoFittingKey) {
    EXPECT_FALSE(SigningKey::from_pem("no key", "ES256"));
    EXPECT_FALSE(SigningKey::from_pem("", "RS256"));
    EXPECT_FALSE(SigningKey::from_pem(kEcPem, "RS256"));
    EXPECT_FALSE(SigningKey::from_pem(kRsaPem, "ES256"));
    EXPECT_FALSE(SigningKey::from_pem(kEcPem, "none"));
    EXPECT_FALSE(SigningKey::from_pem(kEcPem, "HS256"));
    auto const broken =
        SigningKey::from_pem("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n", "ES256");
    ASSERT_FALSE(broken);
    EXPECT_EQ(broken.error().message.find("c2VjcmV0"), std::string::npos);
}

// RFC 7515 appendix A.1.
constexpr std::string_view kHsToken =
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19y"
    "b290Ijp0cnVlfQ"
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

core::Secret hs_secret() {
    return core::Secret(*core::from_base64url(
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"));
}

TEST(Hs256, TakesTheExampleOfRfc7515) {
    auto const token = verify_hs256(kHsToken, hs_secret());
    ASSERT_TRUE(token) << token.error().message;
    EXPECT_EQ(token->header, "{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}");
    EXPECT_EQ(token->claims, "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}");
}

TEST(Hs256, RefusesATokenThatDiffersInAnyCharacter) {
    for (std::size_t i = 0; i < kHsToken.size(); ++i) {
        std::string changed(kHsToken);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        EXPECT_FALSE(verify_hs256(changed, hs_secret())) << i;
        EXPECT_FALSE(verify_hs256(kHsToken.substr(0, i), hs_secret())) << i;
    }
    EXPECT_FALSE(verify_hs256(std::string(kHsToken) + "A", hs_secret()));
    EXPECT_FALSE(verify_hs256(std::string(kHsToken) + ".A", hs_secret()));
    EXPECT_FALSE(verify_hs256(kHsToken, core::Secret("another secret")));
    EXPECT_FALSE(verify_hs256(std::string(9000, 'a') + std::string(kHsToken), hs_secret()));
    EXPECT_FALSE(verify_hs256("", hs_secret()));
    EXPECT_FALSE(verify_hs256("..", hs_secret()));
}

} // namespace
} // namespace parley::net

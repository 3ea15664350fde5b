// Proofs of possession: what stands in them. That their signatures verify: unit/net/jose_test.cpp and the conformance
// suite.
#include "mcp/dpop.hpp"

#include <gtest/gtest.h>

#include "tests/fakes/base64url.hpp"

namespace parley::mcp {
namespace {

std::string part(std::string const& line, int index) {
    auto text = line.substr(std::string("dpop: ").size());
    for (; index > 0; --index)
        text = text.substr(text.find('.') + 1);
    return fakes::decode_base64url(text.substr(0, text.find('.')));
}

TEST(Dpop, ProofForATokenRequest) {
    Dpop dpop;
    auto const line = dpop.proof_line("POST", "https://as.example.com/token?x=1#y", "").value();
    EXPECT_TRUE(line.starts_with("dpop: ey"));
    EXPECT_TRUE(line.ends_with("\r\n"));
    auto const header = part(line, 0);
    EXPECT_TRUE(header.starts_with(R"({"typ":"dpop+jwt","alg":"ES256","jwk":{"crv":"P-256","kty":"EC","x":")"))
        << header;
    auto const claims = part(line, 1);
    EXPECT_NE(claims.find(R"("htm":"POST","htu":"https://as.example.com/token","iat":)"), std::string::npos) << claims;
    EXPECT_EQ(claims.find("ath"), std::string::npos);
    EXPECT_EQ(claims.find("nonce"), std::string::npos);
    EXPECT_NE(dpop.proof_line("POST", "https://as.example.com/token", "").value(), line); // another jti
}

TEST(Dpop, ProofForAResourceNamesTheToken) {
    Dpop dpop;
    auto const claims =
        part(dpop.proof_line("GET", "https://r/x", "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU").value(), 1);
    EXPECT_NE(claims.find(R"("ath":"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo")"),
              std::string::npos); // RFC 9449 §7.1
}

TEST(Dpop, NoncesAreKeptByOrigin) {
    Dpop dpop;
    EXPECT_TRUE(dpop.keep_nonce("https://as/token", "one"));
    EXPECT_FALSE(dpop.keep_nonce("https://as/other", "one"));
    EXPECT_TRUE(dpop.keep_nonce("https://as/token", "two"));
    EXPECT_FALSE(dpop.keep_nonce("https://as/token", ""));
    EXPECT_FALSE(dpop.keep_nonce("https://as/token", "a b"));
    EXPECT_FALSE(dpop.keep_nonce("https://as/token", std::string(2000, 'n')));
    EXPECT_NE(part(dpop.proof_line("POST", "https://as/token", "").value(), 1).find(R"("nonce":"two")"),
              std::string::npos);
    EXPECT_EQ(part(dpop.proof_line("POST", "https://rs/mcp", "t").value(), 1).find("nonce"), std::string::npos);
}

} // namespace
} // namespace parley::mcp

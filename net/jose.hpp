// Signed JSON Web Tokens (RFC 7515, 7518): keys and compact signatures, ES256 and RS256; HS256 checked. libcrypto
// behind plain types. Keys are immutable and cheap to copy; callable from any loop.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "core/secret.hpp"

namespace parley::net {

class SigningKey {
public:
    /// A new P-256 key. Errors: kInternal when libcrypto has none to give.
    static core::Result<SigningKey> generate_es256();

    /// A private key in PEM (PKCS#8, SEC1 or PKCS#1) without a pass phrase. `algorithm`: "ES256" or "RS256".
    /// Errors: kInvalidValue in plain words; never the key.
    static core::Result<SigningKey> from_pem(std::string_view pem, std::string_view algorithm);

    std::string const& algorithm() const noexcept;

    /// The public key as a JWK: the required members in lexicographic order, no white space, as RFC 7638 hashes it.
    std::string const& public_jwk() const noexcept;

    /// RFC 7638, SHA-256, base64url.
    std::string thumbprint() const;

    /// header.claims.signature; both parts are JSON objects. `header` must hold the key's "alg". Errors: kInternal.
    core::Result<std::string> sign(std::string_view header, std::string_view claims) const;

private:
    struct State;
    explicit SigningKey(std::shared_ptr<State const> state) : state_(std::move(state)) {}
    std::shared_ptr<State const> state_;
};

/// The parts of a token whose signature holds. Their JSON is not read here: the header's "alg" is for the caller to
/// check.
struct VerifiedToken {
    std::string header;
    std::string claims;
};

/// Checks a compact token against HS256 (RFC 7518 §3.2), whatever its header says. Errors: kInvalidValue, in words that
/// name neither the token nor the secret.
core::Result<VerifiedToken> verify_hs256(std::string_view token, core::Secret const& secret);

} // namespace parley::net

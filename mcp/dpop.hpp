// Proofs of possession (RFC 9449): one key of an authorizer, and the nonces that servers want to see in its proofs.
// Owned by the authorizer, used on its loop.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "net/jose.hpp"

namespace parley::mcp {

class Dpop {
public:
    /// Makes the key when it is first needed. Errors: kInternal.
    core::Result<std::string> thumbprint();

    /// A fresh proof as a header line ending in CRLF. `access_token` empty = for a token request. Errors: kInternal.
    core::Result<std::string> proof_line(std::string_view method, std::string_view url, std::string_view access_token);

    /// Keeps the nonce of a server's answer for its next proofs. true = it is a new one.
    bool keep_nonce(std::string_view url, std::string_view nonce);

private:
    static constexpr std::size_t kOriginsMax = 16;
    static constexpr std::size_t kNonceBytesMax = 1024;

    core::Result<net::SigningKey const*> key();

    std::optional<net::SigningKey> key_;
    std::map<std::string, std::string> nonces_; // by origin
};

} // namespace parley::mcp

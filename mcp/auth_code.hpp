// The authorization code grant up to the code: PKCE, the authorisation URL, and the redirect checked (RFC 9207).
#pragma once

#include <string>
#include <string_view>

#include "core/result.hpp"
#include "mcp/auth_metadata.hpp"

namespace parley::mcp {

/// BASE64URL(SHA256(verifier)): RFC 7636 §4.2, S256.
std::string code_challenge(std::string_view verifier);

/// One attempt: what must come back with it, and to whom its code may be shown.
struct CodeAttempt {
    std::string verifier; // a secret
    std::string state;    // a secret until the redirect
    std::string issuer;
    bool iss_required = false;
    std::string redirect_uri;
    std::string url; // where the person goes

    struct Wish {
        ServerMetadata const& server;
        std::string_view client_id;
        std::string_view redirect_uri;
        std::string_view resource;
        Scopes const& scopes;
        std::string_view dpop_thumbprint; // empty = no DPoP
    };

    /// Errors: kUpstreamAuth when the server does not say that it checks PKCE with S256, or has no such endpoint.
    static core::Result<CodeAttempt> start(std::string_view label, Wish const& wish);

    /// The code in the URL that the person was sent back to. Errors: kUpstreamAuth; state and iss are checked before
    /// anything else of it is looked at.
    core::Result<std::string> code(std::string_view label, std::string_view redirect) const;
};

} // namespace parley::mcp

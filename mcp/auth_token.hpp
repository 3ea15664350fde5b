// The token endpoint: who we are there, one request, and its answer read. Owned by one authorizer.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/context.hpp"
#include "core/secret.hpp"
#include "core/task.hpp"
#include "mcp/auth.hpp"
#include "mcp/auth_metadata.hpp"
#include "mcp/dpop.hpp"
#include "mcp/origins.hpp"
#include "net/jose.hpp"

namespace parley::mcp {

/// What one authorization server knows us as. Never shown to another one.
struct Client {
    std::string id; // empty = a grant that needs none
    core::Secret secret;
    std::string method = "none";             // token_endpoint_auth_method
    std::optional<net::SigningKey> key = {}; // private_key_jwt
    bool registered = false;                 // by us: may be thrown away and made anew
};

struct Token {
    core::Secret access;
    core::Secret refresh;
    bool dpop = false;
    Scopes scopes; // granted
    core::SteadyTime got = {};
    core::SteadyTime expires = core::SteadyTime::max();
};

struct TokenRequest {
    std::string url;
    std::string audience;                  // of a client assertion: the issuer
    std::string form;                      // without client authentication
    std::vector<std::string_view> secrets; // in the form: an error text that repeats one is dropped
    NamedBy named_by = NamedBy::kServer;
    bool dpop = false;
    Scopes scopes; // asked for: granted if the answer does not say otherwise
};

/// An answer that is an error has `error` set: its OAuth code, for branching.
struct TokenAnswer {
    Token token;
    std::string issued_token_type;
    std::string error;
    core::Error fault;
};

class TokenEndpoint {
public:
    TokenEndpoint(std::string label, Origins& origins, Dpop& dpop, SteadyNow now)
        : label_(std::move(label)), origins_(origins), dpop_(dpop), now_(std::move(now)) {}

    /// A refusal is an answer. Errors: faults of the way there, kUpstreamInvalid for what cannot be read.
    core::Task<TokenAnswer> ask(core::Context const& context, Client const& client, TokenRequest request);

private:
    core::Result<std::string> authenticate(Client const& client, TokenRequest const& request,
                                           std::string& headers) const;
    core::Result<TokenAnswer> read(OAuthAnswer const& answer, TokenRequest const& request) const;
    TokenAnswer refusal(OAuthAnswer const& answer, TokenRequest const& request) const;

    std::string label_;
    Origins& origins_;
    Dpop& dpop_;
    SteadyNow now_;
};

} // namespace parley::mcp

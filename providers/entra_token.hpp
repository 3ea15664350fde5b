// Microsoft Entra access tokens for Azure OpenAI by the client-credentials grant (RFC 6749 §4.4;
// learn.microsoft.com "OAuth 2.0 client credentials flow"). Kept per loop and renewed before they expire.
#pragma once

#include <memory>
#include <string>

#include "core/context.hpp"
#include "core/secret.hpp"
#include "core/task.hpp"
#include "net/http_client.hpp"
#include "providers/session.hpp"

namespace parley::providers {

struct EntraOptions {
    std::string client_id;
    core::Secret client_secret;
    std::shared_ptr<net::Upstream const> token_server; // its URL path is the token endpoint
};

/// The token to send as `Authorization: Bearer`. Errors: kUpstreamAuth with the server's own error code, or those of
/// net::HttpClient.
core::Task<std::string> entra_token(Session& session, core::Context const& context, std::string const& provider,
                                    EntraOptions const& options);

} // namespace parley::providers

// How a token is got: discovery, the client that we are, one of the grants, and refreshing. One at a time: the
// authorizer holds its mutex around obtain() and renew().
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/context.hpp"
#include "core/task.hpp"
#include "mcp/auth.hpp"
#include "mcp/auth_discovery.hpp"
#include "mcp/auth_registration.hpp"
#include "mcp/auth_token.hpp"
#include "mcp/dpop.hpp"
#include "mcp/origins.hpp"

namespace parley::mcp {

class Grants {
public:
    using Grant = OAuthOptions::Grant;

    Grants(std::shared_ptr<ServerSpec const> spec, net::HttpClient& http, Approver approver,
           std::shared_ptr<net::TlsContext> tls, SteadyNow now);
    Grants(Grants const&) = delete;
    Grants& operator=(Grants const&) = delete;

    /// The token of the server's present issuer; null = none yet. Valid until the next obtain() or renew().
    Token const* token() const noexcept;

    /// What was asked for with that token.
    Scopes asked() const;

    /// Gets a token as the challenge wants it; `may_refresh` tries the refresh token first.
    /// Errors: kUpstreamAuth in plain words, faults of the authorization server, kCancelled.
    core::Task<> obtain(core::Context const& context, Challenge const& challenge, bool may_refresh);

    /// Whether renew() can do something without anybody being asked.
    bool can_renew() const noexcept;

    /// Replaces a token that is about to expire. Errors: as obtain().
    core::Task<> renew(core::Context const& context);

    std::string const& issuer() const noexcept { return issuer_; }
    Dpop& dpop() noexcept { return dpop_; }

private:
    /// With one issuer. Never mixed.
    struct Account {
        Scopes asked;
        std::optional<Token> token;
    };
    /// One attempt with everything that was found out for it.
    struct Attempt {
        Discovered found;
        Client client;
        Scopes scopes;
        bool dpop = false;
    };

    Grant grant() const noexcept;
    core::Result<bool> wants_dpop(Discovered const& found, Challenge const& challenge) const;
    Account& account(std::string const& issuer);
    core::Task<> perform(core::Context const& context, Attempt attempt);
    core::Task<TokenAnswer> by_grant(core::Context const& context, Attempt const& attempt);
    core::Task<TokenAnswer> by_code(core::Context const& context, Attempt const& attempt);
    core::Task<TokenAnswer> by_client_credentials(core::Context const& context, Attempt const& attempt);
    core::Task<TokenAnswer> by_assertion(core::Context const& context, Attempt const& attempt, std::string assertion);
    core::Task<TokenAnswer> by_exchange(core::Context const& context, Attempt const& attempt);
    core::Task<bool> by_refresh(core::Context const& context, Attempt const& attempt);
    static TokenRequest token_request(Attempt const& attempt, std::string_view grant_type);
    core::Error missing(std::string_view why) const;

    std::shared_ptr<ServerSpec const> spec_;
    Approver approver_;
    Origins origins_;
    Dpop dpop_;
    Discovery discovery_;
    Registration registration_;
    TokenEndpoint endpoint_;
    std::map<std::string, Account> accounts_; // by issuer
    std::string issuer_;                      // of the present token
    std::optional<Discovered> found_;         // for renewing
    bool dpop_in_use_ = false;
};

} // namespace parley::mcp

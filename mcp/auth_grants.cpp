#include "mcp/auth_grants.hpp"

#include <utility>

#include "mcp/auth_code.hpp"
#include "net/form.hpp"

namespace parley::mcp {
namespace {

using core::Errc;
using core::make_error;

constexpr std::string_view kJwtBearerGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer";    // RFC 7523
constexpr std::string_view kExchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"; // RFC 8693
constexpr std::string_view kIdTokenType = "urn:ietf:params:oauth:token-type:id_token";
constexpr std::string_view kIdJagType = "urn:ietf:params:oauth:token-type:id-jag"; // identity assertion JWT grant

/// 2026-07-28, "Communication Security": a code must not travel in the clear.
bool is_redirect_safe(std::string_view uri) {
    auto const origin = origin_of(uri);
    auto const local = [&](std::string_view host) {
        return origin.starts_with(host) && (origin.size() == host.size() || origin[host.size()] == ':');
    };
    return (origin.starts_with("https://") && origin.size() > 8) || local("http://localhost") ||
           local("http://127.0.0.1") || local("http://[::1]");
}

} // namespace

Grants::Grants(std::shared_ptr<ServerSpec const> spec, net::HttpClient& http, Approver approver,
               std::shared_ptr<net::TlsContext> tls, SteadyNow now)
    : spec_(std::move(spec)),
      approver_(std::move(approver)),
      origins_(spec_, http, std::move(tls)),
      discovery_(spec_, origins_),
      registration_(spec_, origins_, now),
      endpoint_(spec_->label, origins_, dpop_, now) {}

core::Error Grants::missing(std::string_view why) const {
    return make_error(Errc::kUpstreamAuth,
                      "MCP server '" + spec_->label + "' asks for authorization (OAuth). " + std::string(why));
}

Token const* Grants::token() const noexcept {
    auto const found = accounts_.find(issuer_);
    return found != accounts_.end() && found->second.token ? &*found->second.token : nullptr;
}

Scopes Grants::asked() const {
    auto const found = accounts_.find(issuer_);
    return found != accounts_.end() ? found->second.asked : Scopes();
}

Grants::Grant Grants::grant() const noexcept {
    auto const& options = spec_->oauth;
    if (options.grant != Grant::kAuto) return options.grant;
    auto const machine = !options.client_secret.empty() || !options.private_key_pem.empty();
    return machine ? Grant::kClientCredentials : Grant::kAuthorizationCode;
}

Grants::Account& Grants::account(std::string const& issuer) {
    // Old ones only save an approval when a server comes back to them: a few are enough.
    for (auto it = accounts_.begin(); accounts_.size() >= Registration::kIssuersMax && it != accounts_.end();)
        it = it->first != issuer && it->first != issuer_ ? accounts_.erase(it) : std::next(it);
    return accounts_[issuer];
}

core::Result<bool> Grants::wants_dpop(Discovered const& found, Challenge const& challenge) const {
    auto const& at_server = found.server.dpop_algorithms;
    auto const required = spec_->oauth.dpop || found.resource.dpop_required || (challenge.dpop && !challenge.bearer);
    auto const possible = contains(at_server, "ES256");
    if (required && !at_server.empty() && !possible) {
        return missing("It wants proof of possession (DPoP), but its authorization server does not take ES256 keys.");
    }
    auto const offered = challenge.dpop || contains(found.resource.dpop_algorithms, "ES256");
    return required || (offered && possible); // a bound token is of no use to a thief: taken where both sides offer it
}

core::Task<> Grants::obtain(core::Context const& context, Challenge const& challenge, bool may_refresh) {
    auto found = co_await discovery_.run(context, challenge, issuer_);
    if (!found) co_return found.error();
    auto const dpop = wants_dpop(*found, challenge);
    if (!dpop) co_return dpop.error();
    auto& mine = account(found->server.issuer);
    auto const choice = ScopeChoice{challenge.scopes,    found->resource.scopes, mine.asked,
                                    spec_->oauth.scopes, found->server.scopes,   grant() == Grant::kAuthorizationCode};
    auto scopes = choose_scopes(choice);
    Attempt attempt{std::move(*found), {}, std::move(scopes), *dpop};
    auto const refreshable =
        may_refresh && mine.token && mine.token->dpop == *dpop && unite(mine.asked, attempt.scopes) == mine.asked;
    if (refreshable) {
        auto const refreshed = co_await by_refresh(context, attempt);
        if (!refreshed) co_return refreshed.error();
        if (*refreshed) co_return core::Result<>();
    }
    co_return co_await perform(context, std::move(attempt));
}

core::Task<> Grants::perform(core::Context const& context, Attempt attempt) {
    auto const& issuer = attempt.found.server.issuer;
    if (grant() == Grant::kAuthorizationCode && !is_redirect_safe(spec_->oauth.redirect_uri)) {
        co_return missing("oauth.redirect_uri must be set, and be https or a page of this machine.");
    }
    for (auto tries = 0;; ++tries) {
        auto client = co_await registration_.client(context, attempt.found.server, grant(), attempt.dpop);
        if (!client) co_return client.error();
        attempt.client = std::move(*client);
        auto answer = co_await by_grant(context, attempt);
        if (!answer) co_return answer.error();
        // A registration of ours that the server has lost. A configured client is not ours to replace.
        if (answer->error == "invalid_client" && attempt.client.registered && tries == 0) {
            registration_.forget(issuer);
            continue;
        }
        if (!answer->error.empty()) co_return answer->fault;
        auto& mine = account(issuer);
        mine.asked = attempt.scopes;
        mine.token = std::move(answer->token);
        issuer_ = issuer;
        dpop_in_use_ = attempt.dpop;
        found_ = std::move(attempt.found);
        co_return core::Result<>();
    }
}

bool Grants::can_renew() const noexcept {
    auto const* const present = token();
    if (present == nullptr || !found_) return false;
    return !present->refresh.empty() || grant() == Grant::kClientCredentials;
}

core::Task<> Grants::renew(core::Context const& context) {
    if (!can_renew()) co_return missing("Its token cannot be renewed without being asked for again.");
    Attempt attempt{*found_, {}, asked(), dpop_in_use_};
    auto const refreshed = co_await by_refresh(context, attempt);
    if (!refreshed) co_return refreshed.error();
    if (*refreshed) co_return core::Result<>();
    if (grant() != Grant::kClientCredentials)
        co_return missing("Its authorization has ended; it has to be given anew.");
    co_return co_await perform(context, std::move(attempt));
}

core::Task<bool> Grants::by_refresh(core::Context const& context, Attempt const& attempt) {
    auto const& server = attempt.found.server;
    auto const old = account(server.issuer).token;
    if (!old || old->refresh.empty()) co_return false;
    auto const client = co_await registration_.client(context, server, grant(), attempt.dpop);
    if (!client) co_return client.error();
    auto request = token_request(attempt, "refresh_token");
    net::append_form(request.form, "refresh_token", old->refresh.reveal());
    request.secrets = {old->refresh.reveal()};
    request.scopes = old->scopes;
    auto answer = co_await endpoint_.ask(context, *client, std::move(request));
    if (!answer) co_return answer.error();
    auto& mine = account(server.issuer);
    if (!answer->error.empty()) {
        if (answer->fault.code == Errc::kUpstreamFailed) co_return answer->fault; // busy, not refused: keep it
        if (answer->error == "invalid_client" && client->registered) registration_.forget(server.issuer);
        if (mine.token) mine.token->refresh = core::Secret();
        co_return false;
    }
    if (answer->token.refresh.empty()) answer->token.refresh = old->refresh; // RFC 6749 §6: it stays
    mine.token = std::move(answer->token);
    issuer_ = server.issuer;
    dpop_in_use_ = attempt.dpop;
    found_ = attempt.found;
    co_return true;
}

TokenRequest Grants::token_request(Attempt const& attempt, std::string_view grant_type) {
    TokenRequest request;
    request.url = attempt.found.server.token_endpoint;
    request.audience = attempt.found.server.issuer;
    net::append_form(request.form, "grant_type", grant_type);
    net::append_form(request.form, "resource", attempt.found.resource.resource);
    request.dpop = attempt.dpop;
    request.scopes = attempt.scopes;
    return request;
}

core::Task<TokenAnswer> Grants::by_grant(core::Context const& context, Attempt const& attempt) {
    auto const& options = spec_->oauth;
    switch (grant()) {
        case Grant::kClientCredentials:
            return by_client_credentials(context, attempt);
        case Grant::kJwtBearer:
            return by_assertion(context, attempt, options.assertion.reveal());
        case Grant::kTokenExchange:
            return by_exchange(context, attempt);
        case Grant::kAuto:
        case Grant::kAuthorizationCode:
            break;
    }
    return by_code(context, attempt);
}

core::Task<TokenAnswer> Grants::by_code(core::Context const& context, Attempt const& attempt) {
    auto const& redirect_uri = spec_->oauth.redirect_uri;
    auto const& server = attempt.found.server;
    std::string thumbprint;
    if (attempt.dpop) {
        auto made = dpop_.thumbprint();
        if (!made) co_return made.error();
        thumbprint = std::move(*made);
    }
    CodeAttempt::Wish const wish{server,         attempt.client.id, redirect_uri, attempt.found.resource.resource,
                                 attempt.scopes, thumbprint};
    auto const code_attempt = CodeAttempt::start(spec_->label, wish);
    if (!code_attempt) co_return code_attempt.error();
    auto const permitted = origins_.permit(server.authorization_endpoint); // a browser is sent there
    if (!permitted) co_return permitted.error();
    auto const redirect = co_await approver_(context, code_attempt->url);
    if (!redirect) co_return redirect.error();
    auto const code = code_attempt->code(spec_->label, *redirect);
    if (!code) co_return code.error();
    auto request = token_request(attempt, "authorization_code");
    net::append_form(request.form, "code", *code);
    net::append_form(request.form, "redirect_uri", redirect_uri);
    net::append_form(request.form, "code_verifier", code_attempt->verifier);
    request.secrets = {*code, code_attempt->verifier};
    co_return co_await endpoint_.ask(context, attempt.client, std::move(request));
}

core::Task<TokenAnswer> Grants::by_client_credentials(core::Context const& context, Attempt const& attempt) {
    auto request = token_request(attempt, "client_credentials");
    if (!attempt.scopes.empty()) net::append_form(request.form, "scope", join_scopes(attempt.scopes));
    request.secrets = {attempt.client.secret.reveal()};
    co_return co_await endpoint_.ask(context, attempt.client, std::move(request));
}

core::Task<TokenAnswer> Grants::by_assertion(core::Context const& context, Attempt const& attempt,
                                             std::string assertion) {
    if (assertion.empty()) co_return missing("oauth.assertion, the token to exchange, is not set.");
    auto request = token_request(attempt, kJwtBearerGrant);
    net::append_form(request.form, "assertion", assertion);
    if (!attempt.scopes.empty()) net::append_form(request.form, "scope", join_scopes(attempt.scopes));
    request.secrets = {assertion, attempt.client.secret.reveal()};
    co_return co_await endpoint_.ask(context, attempt.client, std::move(request));
}

core::Task<TokenAnswer> Grants::by_exchange(core::Context const& context, Attempt const& attempt) {
    auto const& options = spec_->oauth;
    if (options.assertion.empty()) co_return missing("oauth.assertion, the identity provider's id token, is not set.");
    TokenRequest request;
    request.url = options.idp_token_url;
    request.named_by = NamedBy::kConfiguration;
    if (request.url.empty()) {
        if (options.idp_issuer.empty()) co_return missing("oauth.idp_issuer or oauth.idp_token_url is not set.");
        auto const idp = co_await discovery_.server(context, options.idp_issuer, NamedBy::kConfiguration);
        if (!idp) co_return idp.error();
        request.url = idp->token_endpoint;
    }
    net::append_form(request.form, "grant_type", kExchangeGrant);
    net::append_form(request.form, "requested_token_type", kIdJagType);
    net::append_form(request.form, "subject_token", options.assertion.reveal());
    net::append_form(request.form, "subject_token_type", kIdTokenType);
    net::append_form(request.form, "audience", attempt.found.server.issuer);
    net::append_form(request.form, "resource", attempt.found.resource.resource);
    if (!attempt.scopes.empty()) net::append_form(request.form, "scope", join_scopes(attempt.scopes));
    request.secrets = {options.assertion.reveal(), options.idp_client_secret.reveal()};
    Client idp_client;
    idp_client.id = options.idp_client_id;
    idp_client.secret = options.idp_client_secret;
    if (!idp_client.secret.empty()) idp_client.method = "client_secret_basic";
    auto exchanged = co_await endpoint_.ask(context, idp_client, std::move(request));
    if (!exchanged) co_return exchanged.error();
    if (!exchanged->error.empty()) {
        exchanged->fault.message = missing("Its identity provider exchanged no token: " + exchanged->error +
                                           ". The id token in oauth.assertion may have expired.")
                                       .message;
        co_return std::move(*exchanged);
    }
    if (exchanged->issued_token_type != kIdJagType) {
        co_return missing("Its identity provider issued another kind of token than the one it was asked for (ID-JAG).");
    }
    co_return co_await by_assertion(context, attempt, exchanged->token.access.reveal());
}

} // namespace parley::mcp

#include "mcp/auth_code.hpp"

#include <algorithm>

#include "core/base64.hpp"
#include "core/hash.hpp"
#include "core/random.hpp"
#include "net/form.hpp"

namespace parley::mcp {
namespace {

core::Error fault(std::string_view label, std::string_view why) {
    return core::make_error(core::Errc::kUpstreamAuth,
                            "The authorization of MCP server '" + std::string(label) + "' failed: " + std::string(why));
}

} // namespace

std::string code_challenge(std::string_view verifier) {
    auto const digest = core::sha256(verifier);
    return core::base64url({reinterpret_cast<char const*>(digest.data()), digest.size()});
}

core::Result<CodeAttempt> CodeAttempt::start(std::string_view label, Wish const& wish) {
    if (wish.server.authorization_endpoint.empty()) {
        return fault(label,
                     "its authorization server has no authorization_endpoint; set oauth.grant to one that "
                     "needs nobody.");
    }
    if (!contains(wish.server.code_challenge_methods, "S256")) {
        return fault(label,
                     "its authorization server does not say that it supports PKCE (S256), without which codes "
                     "could be stolen.");
    }
    CodeAttempt attempt;
    attempt.verifier = core::base64url(core::random_bytes(32));
    attempt.state = core::base64url(core::random_bytes(24));
    attempt.issuer = wish.server.issuer;
    attempt.iss_required = wish.server.iss_parameter;
    attempt.redirect_uri = wish.redirect_uri;
    auto& url = attempt.url;
    url = wish.server.authorization_endpoint;
    if (url.find('?') == std::string::npos) url.push_back('?');
    net::append_form(url, "response_type", "code");
    net::append_form(url, "client_id", wish.client_id);
    net::append_form(url, "redirect_uri", wish.redirect_uri);
    net::append_form(url, "state", attempt.state);
    net::append_form(url, "code_challenge", code_challenge(attempt.verifier));
    net::append_form(url, "code_challenge_method", "S256");
    net::append_form(url, "resource", wish.resource);
    if (!wish.scopes.empty()) net::append_form(url, "scope", join_scopes(wish.scopes));
    if (contains(wish.scopes, "offline_access")) net::append_form(url, "prompt", "consent"); // OpenID Connect Core §11
    if (!wish.dpop_thumbprint.empty()) net::append_form(url, "dpop_jkt", wish.dpop_thumbprint); // RFC 9449 §10
    return attempt;
}

core::Result<std::string> CodeAttempt::code(std::string_view label, std::string_view redirect) const {
    auto const query_start = std::min(redirect.find('?'), redirect.size());
    if (redirect.substr(0, query_start) != redirect_uri.substr(0, redirect_uri.find('?'))) {
        return fault(label, "the redirect went somewhere else than to oauth.redirect_uri.");
    }
    auto query = redirect.substr(std::min(query_start + 1, redirect.size()));
    query = query.substr(0, query.find('#'));
    auto const came_state = net::form_value(query, "state");
    if (!came_state || !*came_state || !core::equal_in_constant_time(core::sha256(**came_state), core::sha256(state))) {
        return fault(label, "the redirect does not belong to our request (state).");
    }
    auto const iss = net::form_value(query, "iss");
    if (!iss) return fault(label, "the redirect names its issuer more than once.");
    if (!*iss && iss_required) return fault(label, "the redirect does not say from which issuer it comes (iss).");
    if (*iss && **iss != issuer) return fault(label, "the redirect comes from another issuer (iss).");
    auto const error = net::form_value(query, "error");
    if (!error) return fault(label, "the redirect cannot be read.");
    if (*error) {
        auto const known = std::ranges::all_of(**error, [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
        return fault(label, known && (*error)->size() <= 64 ? "the authorization server says " + **error + "."
                                                            : "the authorization server refused.");
    }
    auto found = net::form_value(query, "code");
    if (!found || !*found || (*found)->empty()) return fault(label, "the redirect brings no code.");
    return std::move(**found);
}

} // namespace parley::mcp

#include "mcp/auth_token.hpp"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/ascii.hpp"
#include "core/base64.hpp"
#include "core/json.hpp"
#include "core/percent.hpp"
#include "core/random.hpp"
#include "net/form.hpp"

namespace parley::mcp {
namespace {

namespace json = boost::json;
using core::Errc;
using core::make_error;

constexpr std::chrono::seconds kAssertionLifetime{300};
constexpr std::int64_t kLifetimeMaxSeconds = 365LL * 24 * 3600;

std::string text_of(json::object const& object, std::string_view key) {
    auto const* const value = object.if_contains(key);
    auto const* const text = value != nullptr ? value->if_string() : nullptr;
    return text != nullptr ? std::string(text->data(), text->size()) : std::string();
}

/// Seconds; servers send them as a number, some as a string. 0 = not given.
std::int64_t lifetime_of(json::object const& object) {
    auto const* const value = object.if_contains("expires_in");
    if (value == nullptr) return 0;
    if (value->is_int64()) return value->get_int64();
    if (value->is_double()) return static_cast<std::int64_t>(std::clamp(value->get_double(), 0.0, 1e9));
    std::int64_t seconds = 0;
    auto const* const text = value->if_string();
    if (text != nullptr) std::from_chars(text->data(), text->data() + text->size(), seconds);
    return seconds;
}

/// What may stand in a header: RFC 6750 §2.1 b64token and the VSCHARs that RFC 6749 allows besides.
bool is_token(std::string_view token) noexcept {
    return !token.empty() && std::ranges::all_of(token, [](char c) { return c > 0x20 && c < 0x7f; });
}

bool is_error_code(std::string_view code) noexcept {
    return !code.empty() && code.size() <= 64 && std::ranges::all_of(code, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
               c == '.' || c == ':';
    });
}

/// RFC 7523 §3, with the issuer as the only audience (RFC 7523bis).
core::Result<std::string> client_assertion(Client const& client, std::string_view audience) {
    auto const now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()).time_since_epoch();
    std::string claims = R"({"iss":)";
    core::append_json_string(claims, client.id);
    claims += R"(,"sub":)";
    core::append_json_string(claims, client.id);
    claims += R"(,"aud":)";
    core::append_json_string(claims, audience);
    claims += R"(,"jti":")" + core::base64url(core::random_bytes(16)) + R"(","iat":)" + std::to_string(now.count()) +
              R"(,"exp":)" + std::to_string((now + kAssertionLifetime).count()) + "}";
    return client.key->sign(R"({"alg":")" + client.key->algorithm() + R"(","typ":"JWT"})", claims);
}

} // namespace

core::Result<std::string> TokenEndpoint::authenticate(Client const& client, TokenRequest const& request,
                                                      std::string& headers) const {
    auto form = request.form;
    if (client.method == "client_secret_basic") { // RFC 6749 §2.3.1: both parts are form-encoded first
        auto const pair = core::percent_encode(client.id) + ":" + core::percent_encode(client.secret.reveal());
        headers += "authorization: Basic " + core::base64(pair) + "\r\n";
        return form;
    }
    if (!client.id.empty()) net::append_form(form, "client_id", client.id);
    if (client.method == "client_secret_post") {
        net::append_form(form, "client_secret", client.secret.reveal());
    } else if (client.method == "private_key_jwt") {
        auto const assertion = client_assertion(client, request.audience);
        if (!assertion) return assertion.error();
        net::append_form(form, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        net::append_form(form, "client_assertion", *assertion);
    }
    return form;
}

core::Task<TokenAnswer> TokenEndpoint::ask(core::Context const& context, Client const& client, TokenRequest request) {
    for (auto tries = 0;; ++tries) {
        std::string headers = "content-type: application/x-www-form-urlencoded\r\n";
        auto form = authenticate(client, request, headers); // anew: an assertion must not be used twice
        if (!form) co_return form.error();
        if (request.dpop) {
            auto const proof = dpop_.proof_line("POST", request.url, {});
            if (!proof) co_return proof.error();
            headers += *proof;
        }
        auto sent = OAuthRequest{"POST", request.url, std::move(headers), std::move(*form), request.named_by};
        auto const answer = co_await origins_.send(context, std::move(sent));
        if (!answer) co_return answer.error();
        if (request.dpop) dpop_.keep_nonce(request.url, answer->dpop_nonce);
        auto read_answer = read(*answer, request);
        if (!read_answer) co_return read_answer.error();
        // RFC 9449 §8: the server wants its nonce in the proof, which it has just told.
        auto const again = request.dpop && read_answer->error == "use_dpop_nonce" && tries == 0;
        if (!again) co_return std::move(*read_answer);
    }
}

core::Result<TokenAnswer> TokenEndpoint::read(OAuthAnswer const& answer, TokenRequest const& request) const {
    if (answer.status != 200) return refusal(answer, request);
    auto const unreadable = [&](std::string_view why) {
        return make_error(Errc::kUpstreamInvalid, "The authorization server of MCP server '" + label_ +
                                                      "' gave a token answer " + std::string(why) + ".");
    };
    boost::system::error_code error;
    auto const value = json::parse(answer.body, error);
    if (error || !value.is_object()) return unreadable("that is not a JSON object");
    auto const& object = value.get_object();
    if (object.contains("error")) return refusal(answer, request); // some say 200 to everything
    auto access = text_of(object, "access_token");
    if (!is_token(access)) return unreadable("without a usable access_token");
    TokenAnswer out;
    out.issued_token_type = text_of(object, "issued_token_type");
    out.token.access = core::Secret(std::move(access));
    out.token.refresh = core::Secret(text_of(object, "refresh_token"));
    auto const type = core::ascii_lower(text_of(object, "token_type"));
    out.token.dpop = type == "dpop";
    if (type != "dpop" && type != "bearer" && type != "n_a" && !type.empty())
        return unreadable("with a token_type unknown here");
    if (request.dpop && !out.token.dpop) {
        return make_error(Errc::kUpstreamAuth, "The authorization server of MCP server '" + label_ +
                                                   "' gave a token that is not bound to our key (DPoP), although it "
                                                   "was asked for one.");
    }
    if (!request.dpop && out.token.dpop) return unreadable("with a token bound to a key that it was not shown");
    auto const scopes = text_of(object, "scope");
    out.token.scopes = scopes.empty() ? request.scopes : parse_scopes(scopes);
    out.token.got = now_();
    auto const lifetime = lifetime_of(object);
    if (lifetime > 0) out.token.expires = out.token.got + std::chrono::seconds(std::min(lifetime, kLifetimeMaxSeconds));
    return out;
}

TokenAnswer TokenEndpoint::refusal(OAuthAnswer const& answer, TokenRequest const& request) const {
    TokenAnswer out;
    boost::system::error_code error;
    auto const value = json::parse(answer.body, error);
    std::string description;
    if (!error && value.is_object()) {
        out.error = text_of(value.get_object(), "error");
        description = text_of(value.get_object(), "error_description");
    }
    if (!is_error_code(out.error)) out.error = "status_" + std::to_string(answer.status);
    auto const repeated = [&](std::string_view secret) {
        return !secret.empty() && description.find(secret) != std::string::npos;
    };
    if (std::ranges::any_of(request.secrets, repeated)) description.clear();
    description.resize(std::min(description.size(), std::size_t{300}));
    auto const code = answer.status >= 500 ? Errc::kUpstreamFailed : Errc::kUpstreamAuth;
    out.fault =
        make_error(code, "The authorization server of MCP server '" + label_ + "' gave no token: " + out.error + ".",
                   {}, core::repair_utf8(description));
    out.fault.upstream_status = answer.status;
    return out;
}

} // namespace parley::mcp

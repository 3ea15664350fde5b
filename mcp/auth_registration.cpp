#include "mcp/auth_registration.hpp"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/json.hpp"

namespace parley::mcp {
namespace {

namespace json = boost::json;
using core::Errc;
using core::make_error;
using Grant = OAuthOptions::Grant;

/// The way to show a secret that the server takes; basic is what absent metadata means (RFC 8414 §2).
std::string secret_method(ServerMetadata const& server) {
    auto const& methods = server.token_auth_methods;
    auto const post = contains(methods, "client_secret_post") && !contains(methods, "client_secret_basic");
    return post ? "client_secret_post" : "client_secret_basic";
}

/// What to register as: with a secret where the server gives one.
std::string method_to_register(ServerMetadata const& server, Grant grant) {
    auto const& methods = server.token_auth_methods;
    auto const with_secret = methods.empty() || contains(methods, "client_secret_basic") ||
                             contains(methods, "client_secret_post") || grant == Grant::kClientCredentials;
    return with_secret ? secret_method(server) : "none";
}

/// OpenID Connect Registration 1.0 §2: redirects to this machine belong to native applications.
bool is_native(std::string_view redirect_uri) {
    auto const origin = origin_of(redirect_uri);
    auto const local = [&](std::string_view host) {
        auto const rest = std::string_view(origin).substr(std::min(origin.size(), std::string_view("http://").size()));
        return origin.starts_with("http://") && rest.starts_with(host) &&
               (rest.size() == host.size() || rest[host.size()] == ':');
    };
    return local("localhost") || local("127.0.0.1") || local("[::1]") || !origin.starts_with("http");
}

bool is_header_safe(std::string_view text) noexcept {
    return std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; }); // RFC 6749 appendix A: VSCHAR
}

void append_list(std::string& out, std::string_view name, std::vector<std::string_view> const& values) {
    out.append(R"(,")").append(name).append(R"(":[)");
    for (auto const& value : values) {
        if (out.back() != '[') out.push_back(',');
        core::append_json_string(out, value);
    }
    out.push_back(']');
}

} // namespace

core::Error Registration::missing(std::string_view why) const {
    return make_error(Errc::kUpstreamAuth,
                      "MCP server '" + spec_->label + "' asks for authorization (OAuth). " + std::string(why));
}

core::Result<> Registration::add_key(Client& client) const {
    auto const& pem = spec_->oauth.private_key_pem;
    if (pem.empty()) return {};
    auto const& configured = spec_->oauth.signing_algorithm;
    auto key = net::SigningKey::from_pem(pem.reveal(), configured.empty() ? "ES256" : configured);
    if (!key) return missing("Its oauth.private_key cannot be used: " + key.error().message);
    client.key = std::move(*key);
    client.method = "private_key_jwt";
    return {};
}

core::Result<Client> Registration::configured(ServerMetadata const& server) {
    // Without a configured issuer the first one counts: a server that later names another must not get the secret.
    if (configured_for_.empty()) configured_for_ = server.issuer;
    if (configured_for_ != server.issuer) {
        return missing(
            "It now names another authorization server than the one that the configured client_id was "
            "used at; the credentials are not shown to it. Set oauth.issuer and matching credentials.");
    }
    Client client;
    client.id = spec_->oauth.client_id;
    client.secret = spec_->oauth.client_secret;
    if (!client.secret.empty()) client.method = secret_method(server);
    auto const keyed = add_key(client);
    if (!keyed) return keyed.error();
    return client;
}

core::Task<Client> Registration::client(core::Context const& context, ServerMetadata const& server, Grant grant,
                                        bool dpop) {
    auto const& options = spec_->oauth;
    auto const assertion_only = grant == Grant::kJwtBearer;
    if (!options.client_id.empty() || assertion_only) co_return configured(server);
    auto const& document = options.client_metadata_url;
    if (!document.empty() && server.client_id_metadata_documents) {
        Client client; // the document is ours and public: the same id may be shown to everybody
        client.id = document;
        auto const keyed = add_key(client);
        if (!keyed) co_return keyed.error();
        co_return client;
    }
    auto const known = registered_.find(server.issuer);
    if (known != registered_.end() && now_() < known->second.expires) {
        co_return known->second.client;
    }
    if (server.registration_endpoint.empty()) {
        co_return missing(
            "Its authorization server takes no clients that it does not know: register one there and "
            "set oauth.client_id (and oauth.client_secret).");
    }
    co_return co_await register_at(context, server, grant, dpop);
}

std::string Registration::registration_body(Grant grant, std::string_view method, bool dpop) const {
    auto const code = grant == Grant::kAuthorizationCode;
    auto const& redirect = spec_->oauth.redirect_uri;
    std::string body = R"({"client_name":"Parley","application_type":)";
    body += is_native(redirect) && code ? R"("native")" : R"("web")";
    body += R"(,"token_endpoint_auth_method":)";
    core::append_json_string(body, method);
    if (code) {
        append_list(body, "redirect_uris", {redirect});
        append_list(body, "response_types", {"code"});
        append_list(body, "grant_types", {"authorization_code", "refresh_token"});
    } else if (grant == Grant::kTokenExchange) {
        append_list(body, "grant_types", {"urn:ietf:params:oauth:grant-type:jwt-bearer"});
    } else {
        append_list(body, "grant_types", {"client_credentials"});
    }
    if (dpop) body += R"(,"dpop_bound_access_tokens":true)";
    return body + "}";
}

core::Task<Client> Registration::register_at(core::Context const& context, ServerMetadata const& server, Grant grant,
                                             bool dpop) {
    if (registered_.size() >= kIssuersMax && !registered_.contains(server.issuer)) {
        co_return missing("It has named too many authorization servers.");
    }
    auto method = method_to_register(server, grant);
    auto request = OAuthRequest{"POST", server.registration_endpoint, "content-type: application/json\r\n",
                                registration_body(grant, method, dpop), NamedBy::kServer};
    auto const answer = co_await origins_.send(context, std::move(request));
    if (!answer) co_return answer.error();
    auto registered = read_registration(*answer, std::move(method));
    if (!registered) co_return registered.error();
    auto client = registered->client;
    registered_.insert_or_assign(server.issuer, std::move(*registered));
    co_return std::move(client);
}

core::Result<Registration::Registered> Registration::read_registration(OAuthAnswer const& answer,
                                                                       std::string method) const {
    boost::system::error_code error;
    auto const value = json::parse(answer.body, error);
    auto const* const object = error ? nullptr : value.if_object();
    auto const text = [&](std::string_view key) {
        auto const* const member = object != nullptr ? object->if_contains(key) : nullptr;
        auto const* const string = member != nullptr ? member->if_string() : nullptr;
        return string != nullptr ? std::string(string->data(), string->size()) : std::string();
    };
    Registered out;
    out.client.id = text("client_id");
    if ((answer.status != 200 && answer.status != 201) || out.client.id.empty()) {
        auto refused =
            missing("Its authorization server refused to register us (status " + std::to_string(answer.status) +
                    "): register a client there and set oauth.client_id (and oauth.client_secret).");
        refused.detail = core::repair_utf8(text("error") + " " + text("error_description").substr(0, 300));
        refused.upstream_status = answer.status;
        return refused;
    }
    out.client.secret = core::Secret(text("client_secret"));
    out.client.registered = true;
    auto const given = text("token_endpoint_auth_method");
    out.client.method = given.empty() ? method : given;
    auto const known = out.client.method == "none" || out.client.method == "client_secret_basic" ||
                       out.client.method == "client_secret_post";
    if (!known || !is_header_safe(out.client.id)) {
        return missing("Its authorization server registered us for a way of authentication that we did not ask for.");
    }
    if (out.client.secret.empty()) out.client.method = "none";
    auto const* const expires = object->if_contains("client_secret_expires_at");
    auto const at_s = expires != nullptr && expires->is_int64() ? expires->get_int64() : 0;
    if (at_s > 0) {
        auto const now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()).time_since_epoch();
        out.expires = now_() + std::chrono::seconds(std::clamp<std::int64_t>(at_s - now.count(), 0, 366LL * 24 * 3600));
    }
    return out;
}

} // namespace parley::mcp

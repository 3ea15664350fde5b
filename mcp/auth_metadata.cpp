#include "mcp/auth_metadata.hpp"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <utility>

namespace parley::mcp {
namespace {

namespace json = boost::json;
using core::Errc;
using core::make_error;

constexpr std::size_t kListMax = 100;

core::Result<json::object> parse_object(std::string_view text, std::string_view what) {
    boost::system::error_code error;
    auto value = json::parse(json::string_view(text.data(), text.size()), error);
    if (error || !value.is_object()) {
        return make_error(Errc::kUpstreamInvalid, std::string(what) + " is not a JSON object.");
    }
    return std::move(value.as_object());
}

std::string string_of(json::object const& object, std::string_view key) {
    auto const* const value = object.if_contains(key);
    auto const* const text = value != nullptr ? value->if_string() : nullptr;
    return text != nullptr ? std::string(text->data(), text->size()) : std::string();
}

std::vector<std::string> list_of(json::object const& object, std::string_view key) {
    std::vector<std::string> out;
    auto const* const value = object.if_contains(key);
    auto const* const array = value != nullptr ? value->if_array() : nullptr;
    if (array == nullptr) return out;
    for (auto const& item : *array) {
        auto const* const text = item.if_string();
        if (text != nullptr && out.size() < kListMax) out.emplace_back(text->data(), text->size());
    }
    return out;
}

bool flag_of(json::object const& object, std::string_view key) {
    auto const* const value = object.if_contains(key);
    auto const* const flag = value != nullptr ? value->if_bool() : nullptr;
    return flag != nullptr && *flag;
}

struct Parts {
    std::string origin;
    std::string path; // without query and fragment
};

Parts parts_of(std::string_view url) {
    auto const scheme_end = url.find("://");
    if (scheme_end == std::string_view::npos) return {};
    url = url.substr(0, url.find_first_of("?#"));
    auto const path_start = std::min(url.find('/', scheme_end + 3), url.size());
    Parts parts{std::string(url.substr(0, path_start)), std::string(url.substr(path_start))};
    std::ranges::transform(parts.origin, parts.origin.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
    auto const strip = [&](std::string_view scheme, std::string_view port) {
        if (parts.origin.starts_with(scheme) && parts.origin.ends_with(port))
            parts.origin.resize(parts.origin.size() - port.size());
    };
    strip("http://", ":80");
    strip("https://", ":443");
    return parts;
}

std::string without_slashes(std::string path) {
    while (path.ends_with('/'))
        path.pop_back();
    return path;
}

} // namespace

core::Result<ResourceMetadata> parse_resource_metadata(std::string_view text) {
    auto const object = parse_object(text, "The server's protected resource metadata");
    if (!object) return object.error();
    ResourceMetadata out;
    out.resource = string_of(*object, "resource");
    out.authorization_servers = list_of(*object, "authorization_servers");
    out.scopes = unite({}, list_of(*object, "scopes_supported"));
    out.dpop_algorithms = list_of(*object, "dpop_signing_alg_values_supported");
    out.dpop_required = flag_of(*object, "dpop_bound_access_tokens_required");
    if (out.resource.empty()) {
        return make_error(Errc::kUpstreamInvalid, "The server's protected resource metadata names no 'resource'.");
    }
    return out;
}

core::Result<ServerMetadata> parse_server_metadata(std::string_view text, std::string_view issuer) {
    auto const object = parse_object(text, "The authorization server's metadata");
    if (!object) return object.error();
    ServerMetadata out;
    out.issuer = string_of(*object, "issuer");
    if (out.issuer != issuer) {
        return make_error(Errc::kUpstreamInvalid,
                          "The authorization server's metadata is not its own: its 'issuer' differs from the one that "
                          "the tool server names.");
    }
    out.authorization_endpoint = string_of(*object, "authorization_endpoint");
    out.token_endpoint = string_of(*object, "token_endpoint");
    out.registration_endpoint = string_of(*object, "registration_endpoint");
    out.scopes = unite({}, list_of(*object, "scopes_supported"));
    out.code_challenge_methods = list_of(*object, "code_challenge_methods_supported");
    out.token_auth_methods = list_of(*object, "token_endpoint_auth_methods_supported");
    out.dpop_algorithms = list_of(*object, "dpop_signing_alg_values_supported");
    out.client_id_metadata_documents = flag_of(*object, "client_id_metadata_document_supported");
    out.iss_parameter = flag_of(*object, "authorization_response_iss_parameter_supported");
    if (out.token_endpoint.empty()) {
        return make_error(Errc::kUpstreamInvalid, "The authorization server's metadata names no 'token_endpoint'.");
    }
    return out;
}

ServerMetadata default_endpoints(std::string_view origin) {
    ServerMetadata out;
    out.issuer = origin;
    out.authorization_endpoint = out.issuer + "/authorize";
    out.token_endpoint = out.issuer + "/token";
    out.registration_endpoint = out.issuer + "/register";
    out.code_challenge_methods = {"S256"}; // 2025-03-26: PKCE is required of all
    return out;
}

std::string origin_of(std::string_view url) {
    return parts_of(url).origin;
}

std::string canonical_resource(std::string_view url) {
    auto const parts = parts_of(url);
    return parts.path == "/" ? parts.origin : parts.origin + parts.path;
}

bool covers(std::string_view resource, std::string_view server_url) {
    if (resource.find('#') != std::string_view::npos) return false; // RFC 8707 §2
    auto const named = parts_of(resource);
    auto const server = parts_of(server_url);
    if (named.origin.empty() || named.origin != server.origin) return false;
    auto const prefix = without_slashes(named.path);
    if (!server.path.starts_with(prefix)) return false;
    return server.path.size() == prefix.size() || server.path[prefix.size()] == '/';
}

std::vector<std::string> resource_metadata_urls(std::string_view server_url) {
    static constexpr std::string_view kWellKnown = "/.well-known/oauth-protected-resource";
    auto const parts = parts_of(server_url);
    auto const root = parts.origin + std::string(kWellKnown);
    auto const path = without_slashes(parts.path);
    if (path.empty()) return {root};
    return {root + path, root};
}

std::vector<std::string> server_metadata_urls(std::string_view issuer) {
    static constexpr std::string_view kOAuth = "/.well-known/oauth-authorization-server";
    static constexpr std::string_view kOpenId = "/.well-known/openid-configuration";
    auto const parts = parts_of(issuer);
    auto const path = without_slashes(parts.path);
    auto const at = [&](std::string_view before, std::string_view middle, std::string_view after) {
        return parts.origin + std::string(before) + std::string(middle) + std::string(after);
    };
    if (path.empty()) return {at("", kOAuth, ""), at("", kOpenId, "")};
    return {at("", kOAuth, path), at("", kOpenId, path), at(path, kOpenId, "")};
}

} // namespace parley::mcp

// What OAuth servers publish about themselves and what challenges say: read, checked, and where to look for it.
// Pure functions over foreign text; the requests are in auth_discovery.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace parley::mcp {

using Scopes = std::vector<std::string>;

/// The Bearer and DPoP challenges of WWW-Authenticate (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9449 §7.1).
struct Challenge {
    bool bearer = false;
    bool dpop = false;
    std::string resource_metadata; // RFC 9728 §5.1
    std::string error;
    Scopes scopes;
};

/// Reads what it can: other schemes are skipped, a broken tail is ignored. Of parameters given twice the first counts.
Challenge parse_challenge(std::string_view www_authenticate);

/// Splits at spaces; drops what is no scope-token (RFC 6749 §3.3), doubles, and all above 100.
Scopes parse_scopes(std::string_view text);
std::string join_scopes(Scopes const& scopes);
Scopes unite(Scopes scopes, Scopes const& more); // in order, without doubles
bool contains(std::vector<std::string> const& list, std::string_view value) noexcept;

/// RFC 9728 §2. `resource` is the identifier that tokens are asked for.
struct ResourceMetadata {
    std::string resource;
    std::vector<std::string> authorization_servers;
    Scopes scopes;
    std::vector<std::string> dpop_algorithms;
    bool dpop_required = false;
};

/// RFC 8414 §2 and OpenID Connect Discovery 1.0 §3. Absent lists are empty.
struct ServerMetadata {
    std::string issuer;
    std::string authorization_endpoint;
    std::string token_endpoint;
    std::string registration_endpoint;
    Scopes scopes;
    std::vector<std::string> code_challenge_methods;
    std::vector<std::string> token_auth_methods; // token_endpoint_auth_methods_supported
    std::vector<std::string> dpop_algorithms;
    bool client_id_metadata_documents = false;
    bool iss_parameter = false; // authorization_response_iss_parameter_supported
};

/// Errors: kUpstreamInvalid in plain words.
core::Result<ResourceMetadata> parse_resource_metadata(std::string_view json);

/// `issuer` must be the document's own, byte for byte (RFC 8414 §3.3). Errors: kUpstreamInvalid.
core::Result<ServerMetadata> parse_server_metadata(std::string_view json, std::string_view issuer);

/// The endpoints of servers that publish nothing (2025-03-26, "Fallbacks for Servers without Metadata Discovery").
ServerMetadata default_endpoints(std::string_view origin);

/// scheme://authority of an absolute URL, lower case, without the scheme's own port.
std::string origin_of(std::string_view url);

/// Without query and fragment and without the slash of an empty path: RFC 8707 §2 "canonical URI of the server".
std::string canonical_resource(std::string_view url);

/// True when tokens for `resource` may be sent to `server_url`: same origin, and its path is a prefix by segments.
bool covers(std::string_view resource, std::string_view server_url);

/// Where a server at `server_url` may publish its resource metadata, best first (RFC 9728 §3.1).
std::vector<std::string> resource_metadata_urls(std::string_view server_url);

/// Where the metadata of an issuer may be, best first.
std::vector<std::string> server_metadata_urls(std::string_view issuer);

/// Which scopes to ask for: the challenge's, else the resource's, together with those `asked` for before and the
/// configured ones; offline_access only if the authorization server lists it, and then `wants_refresh` adds it.
/// Empty = leave the parameter out.
struct ScopeChoice {
    Scopes const& challenged;
    Scopes const& resource;
    Scopes const& asked;
    Scopes const& configured;
    Scopes const& server;
    bool wants_refresh = false;
};
Scopes choose_scopes(ScopeChoice const& choice);

} // namespace parley::mcp

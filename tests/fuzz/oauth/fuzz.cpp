// What OAuth servers say about themselves: challenges, metadata, redirects, URLs.
// Properties: no crash; scopes are bounded and fit for a header; metadata is taken of the right issuer only; a redirect
// brings a code only with our state.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "mcp/auth_code.hpp"
#include "mcp/auth_metadata.hpp"

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

void check_scopes(parley::mcp::Scopes const& scopes) {
    require(scopes.size() <= 100);
    for (auto const& scope : scopes)
        require(!scope.empty() && scope.find_first_of(" \r\n\"\\") == std::string::npos);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    std::string_view const bytes(reinterpret_cast<char const*>(data), size);
    auto const challenge = parley::mcp::parse_challenge(bytes);
    check_scopes(challenge.scopes);
    require(challenge.bearer || challenge.dpop || challenge.resource_metadata.empty());
    auto const server = parley::mcp::parse_server_metadata(bytes, "https://as");
    if (server) {
        require(server->issuer == "https://as" && !server->token_endpoint.empty());
        check_scopes(server->scopes);
    }
    auto const resource = parley::mcp::parse_resource_metadata(bytes);
    if (resource && parley::mcp::covers(resource->resource, "https://rs/mcp"))
        require(parley::mcp::origin_of(resource->resource) == "https://rs");
    for (auto const& url : parley::mcp::server_metadata_urls(bytes))
        require(url.find("/.well-known/") != std::string::npos);
    parley::mcp::CodeAttempt attempt;
    attempt.state = "the-state";
    attempt.issuer = "https://as";
    attempt.redirect_uri = "https://rp/cb";
    auto const code = attempt.code("fuzz", bytes);
    require(!code || (bytes.starts_with("https://rp/cb?") && !code->empty()));
    return 0;
}

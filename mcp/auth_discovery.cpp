#include "mcp/auth_discovery.hpp"

#include <optional>
#include <utility>

namespace parley::mcp {
namespace {

using core::Errc;
using core::make_error;

} // namespace

core::Task<Discovery::Found> Discovery::get(core::Context const& context, std::string url, NamedBy named_by) {
    // 2025-03-26 asks for the version; later ones do not mind.
    auto request = OAuthRequest{"GET", std::move(url), "mcp-protocol-version: 2025-11-25\r\n", {}, named_by};
    auto answer = co_await origins_.send(context, std::move(request));
    if (!answer) co_return answer.error();
    if (answer->status >= 500) {
        auto error = make_error(Errc::kUpstreamFailed, "The authorization of MCP server '" + spec_->label +
                                                           "' cannot be found out: its metadata answers with status " +
                                                           std::to_string(answer->status) + ".");
        error.upstream_status = answer->status;
        co_return error;
    }
    auto found = Found{answer->status == 200, std::move(answer->body)};
    co_return std::move(found);
}

core::Task<std::optional<ResourceMetadata>> Discovery::resource(core::Context const& context,
                                                                Challenge const& challenge) {
    auto const server_url = spec_->url.reveal();
    auto urls = resource_metadata_urls(server_url);
    auto const told = !challenge.resource_metadata.empty();
    if (told) urls = {challenge.resource_metadata};
    for (auto const& url : urls) {
        auto const answer = co_await get(context, url, NamedBy::kServer);
        if (!answer) co_return answer.error();
        if (!answer->found) continue;
        auto metadata = parse_resource_metadata(answer->body);
        if (!metadata) co_return metadata.error();
        co_return std::optional(std::move(*metadata));
    }
    if (told) {
        co_return make_error(Errc::kUpstreamAuth, "MCP server '" + spec_->label +
                                                      "' asks for authorization, but its protected resource metadata "
                                                      "cannot be fetched.");
    }
    co_return std::optional<ResourceMetadata>();
}

core::Result<std::string> Discovery::choose_issuer(ResourceMetadata const& resource,
                                                   std::string const& current_issuer) const {
    auto const& servers = resource.authorization_servers;
    if (servers.empty()) {
        return make_error(Errc::kUpstreamAuth, "MCP server '" + spec_->label +
                                                   "' asks for authorization but names no authorization server.");
    }
    auto const& configured = spec_->oauth.issuer;
    if (!configured.empty()) {
        if (contains(servers, configured)) return configured;
        return make_error(Errc::kUpstreamAuth, "MCP server '" + spec_->label +
                                                   "' no longer names the authorization server that its oauth.issuer "
                                                   "is set to; the credentials are not shown to another one.");
    }
    return contains(servers, current_issuer) ? current_issuer : servers.front();
}

core::Task<ServerMetadata> Discovery::server(core::Context const& context, std::string issuer, NamedBy named_by) {
    for (auto const& url : server_metadata_urls(issuer)) {
        auto const answer = co_await get(context, url, named_by);
        if (!answer) co_return answer.error();
        if (answer->found) co_return parse_server_metadata(answer->body, issuer);
    }
    co_return make_error(Errc::kUpstreamAuth, "The authorization server of MCP server '" + spec_->label +
                                                  "' publishes no metadata, so it cannot be used.");
}

core::Task<Discovered> Discovery::without_resource_metadata(core::Context const& context) {
    if (spec_->era == Era::kModern) {
        co_return make_error(Errc::kUpstreamAuth, "MCP server '" + spec_->label +
                                                      "' asks for authorization but publishes no protected resource "
                                                      "metadata.");
    }
    // 2025-03-26: the server is its own authorization server, and its origin the issuer.
    auto const origin = origin_of(spec_->url.reveal());
    Discovered out;
    out.resource.resource = canonical_resource(spec_->url.reveal());
    if (!spec_->oauth.issuer.empty() && spec_->oauth.issuer != origin) {
        co_return make_error(Errc::kUpstreamAuth, "MCP server '" + spec_->label +
                                                      "' does not name the authorization server that its "
                                                      "oauth.issuer is set to.");
    }
    for (auto const& url : server_metadata_urls(origin)) {
        auto const answer = co_await get(context, url, NamedBy::kServer);
        if (!answer) co_return answer.error();
        if (!answer->found) continue;
        auto metadata = parse_server_metadata(answer->body, origin);
        if (!metadata) co_return metadata.error();
        out.server = std::move(*metadata);
        co_return std::move(out);
    }
    out.server = default_endpoints(origin);
    co_return std::move(out);
}

core::Task<Discovered> Discovery::run(core::Context const& context, Challenge const& challenge,
                                      std::string current_issuer) {
    auto resource_metadata = co_await resource(context, challenge);
    if (!resource_metadata) co_return resource_metadata.error();
    if (!*resource_metadata) co_return co_await without_resource_metadata(context);
    auto const issuer = choose_issuer(**resource_metadata, current_issuer);
    if (!issuer) co_return issuer.error();
    auto metadata = co_await server(context, *issuer, NamedBy::kServer);
    if (!metadata) co_return metadata.error();
    if (!covers((*resource_metadata)->resource, spec_->url.reveal())) {
        co_return make_error(Errc::kUpstreamAuth, "MCP server '" + spec_->label +
                                                      "' wants tokens for another resource than itself, which is "
                                                      "refused.");
    }
    auto out = Discovered{std::move(**resource_metadata), std::move(*metadata)};
    co_return std::move(out);
}

} // namespace parley::mcp

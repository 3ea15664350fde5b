#include "mcp/origins.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "mcp/auth_metadata.hpp"
#include "net/tls.hpp"

namespace parley::mcp {
namespace {

using core::Errc;
using core::make_error;
using net::AddressKind;

constexpr std::size_t kUrlBytesMax = 8 * 1024;

/// The kind of place that the host itself tells, without asking anybody; kNone for names.
AddressKind literal_place(std::string_view host) {
    auto const local = host == "localhost" || host.ends_with(".localhost"); // RFC 6761 §6.3
    return local ? AddressKind::kLoopback : net::address_kind(host);
}

} // namespace

Origins::Origins(std::shared_ptr<ServerSpec const> spec, net::HttpClient& http, std::shared_ptr<net::TlsContext> tls)
    : spec_(std::move(spec)), http_(http), tls_(std::move(tls)) {}

core::Result<Origins::Place> Origins::parse(std::string_view url) {
    auto const odd = [](char c) { return c <= 0x20 || c >= 0x7f; };
    auto const query = std::min(url.find('?'), url.size());
    if (url.size() > kUrlBytesMax || std::ranges::any_of(url, odd) || url.find('#') != std::string_view::npos) {
        return make_error(Errc::kUpstreamAuth, "A URL for authorization is not a plain http or https URL.");
    }
    auto parsed = net::parse_url(url.substr(0, query));
    if (!parsed) {
        return make_error(Errc::kUpstreamAuth, "A URL for authorization cannot be used: " + parsed.error().message);
    }
    auto const path = std::min(url.find('/', url.find("://") + 3), query);
    Place place{std::move(*parsed), std::string(url.substr(path))};
    if (!place.target.starts_with('/')) place.target.insert(0, "/");
    place.url.path.clear();
    return place;
}

core::Result<> Origins::permit(std::string_view url) const {
    auto const place = parse(url);
    if (!place) return place.error();
    return permit(*place);
}

core::Result<> Origins::permit(Place const& place) const {
    auto const& url = place.url;
    auto const origin = (url.tls ? "https://" : "http://") + url.authority();
    if (origin_of(origin) == origin_of(spec_->url.reveal())) return {}; // we talk to it anyway
    auto const own = own_place_.value_or(AddressKind::kPublic);
    auto const there = literal_place(url.host);
    if (!url.tls && !(there == AddressKind::kLoopback && own == AddressKind::kLoopback)) {
        return make_error(Errc::kUpstreamAuth,
                          "MCP server '" + spec_->label + "' names " + origin +
                              " for authorization, which is refused: it must be https (http only between servers of "
                              "this machine).");
    }
    if (there != AddressKind::kNone && there != AddressKind::kPublic && there != own) {
        return make_error(Errc::kUpstreamAuth, "MCP server '" + spec_->label + "' names " + origin +
                                                   " for authorization, which is refused: the address is not a "
                                                   "public one.");
    }
    return {};
}

core::Result<std::shared_ptr<net::Upstream const>> Origins::upstream_of(Place const& place, NamedBy named_by) {
    auto const& url = place.url;
    auto const key =
        (named_by == NamedBy::kServer ? "s " : "c ") + std::string(url.tls ? "https://" : "http://") + url.authority();
    auto const found = upstreams_.find(key);
    if (found != upstreams_.end()) return found->second;
    if (upstreams_.size() >= kOriginsMax) {
        return make_error(Errc::kUpstreamAuth,
                          "MCP server '" + spec_->label + "' has named too many servers for authorization.");
    }
    auto upstream = std::make_shared<net::Upstream>();
    upstream->name = spec_->label; // of a metric too: not what a foreign server makes up
    upstream->kind = "Authorization server of MCP server";
    upstream->url = url;
    upstream->timeouts = {.connect = kTimeout / 2, .first_byte = kTimeout, .idle = kTimeout, .total = kTimeout};
    upstream->connections_max = 8;
    upstream->keep_alive = std::chrono::milliseconds(5'000);
    auto const own_origin = origin_of((url.tls ? "https://" : "http://") + url.authority());
    auto const configured = named_by == NamedBy::kConfiguration || own_origin == origin_of(spec_->url.reveal());
    if (!configured) upstream->reach = own_place_.value_or(AddressKind::kPublic);
    if (url.tls) {
        try {
            if (!tls_) tls_ = net::make_tls_client_context({.ca_file = spec_->ca_file});
        } catch (std::exception const& fault) {
            return make_error(Errc::kAgentUnavailable,
                              "The CA file of MCP server '" + spec_->label + "' cannot be read.", {}, fault.what());
        }
        upstream->tls = tls_;
    }
    return upstreams_.emplace(key, std::move(upstream)).first->second;
}

core::Task<> Origins::learn_own_place(core::Context const& context) {
    if (own_place_) co_return core::Result<>();
    auto const server = parse(spec_->url.reveal());
    if (!server) co_return server.error();
    auto place = literal_place(server->url.host);
    if (place == AddressKind::kNone) {
        auto const resolved = co_await http_.place_of(context, server->url.host, kTimeout);
        if (!resolved) co_return resolved.error();
        place = *resolved;
    }
    own_place_ = place;
    co_return core::Result<>();
}

core::Task<OAuthAnswer> Origins::send(core::Context const& context, OAuthRequest request) {
    auto const learnt = co_await learn_own_place(context);
    if (!learnt) co_return learnt.error();
    auto const place = parse(request.url);
    if (!place) co_return place.error();
    if (request.named_by == NamedBy::kServer) {
        auto const permitted = permit(*place);
        if (!permitted) co_return permitted.error();
    }
    auto const upstream = upstream_of(*place, request.named_by);
    if (!upstream) co_return upstream.error();
    auto sent = net::ClientRequest{request.method, place->target, "accept: application/json\r\n" + request.headers,
                                   std::move(request.body)};
    auto const exchange = co_await http_.send(context, *upstream, std::move(sent));
    if (!exchange) co_return exchange.error();
    auto& answer = **exchange;
    auto body = co_await net::HttpClient::read_all(answer, kAnswerBytesMax);
    if (!body) co_return body.error();
    co_return OAuthAnswer{answer.status(), std::move(*body), std::string(answer.header("dpop-nonce")),
                          std::string(answer.header("location"))};
}

} // namespace parley::mcp

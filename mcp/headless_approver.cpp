#include "mcp/headless_approver.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "net/tls.hpp"

namespace parley::mcp {
namespace {

using core::Errc;
using core::make_error;

core::Task<std::string> approve(net::HttpClient& http, core::Context const& context, std::string authorize_url) {
    auto const query = std::min(authorize_url.find('?'), authorize_url.size());
    auto url = net::parse_url(std::string_view(authorize_url).substr(0, query));
    if (!url) co_return url.error();
    auto upstream = std::make_shared<net::Upstream>();
    upstream->name = "headless approver";
    upstream->kind = "Authorization page of";
    upstream->url = std::move(*url);
    if (upstream->url.tls) upstream->tls = net::make_tls_client_context({});
    auto target = authorize_url.substr(std::min(authorize_url.find('/', authorize_url.find("://") + 3), query));
    if (!target.starts_with('/')) target.insert(0, "/");
    auto request = net::ClientRequest{"GET", std::move(target), "accept: text/html\r\n", {}};
    auto const exchange = co_await http.send(context, upstream, std::move(request));
    if (!exchange) co_return exchange.error();
    auto& answer = **exchange;
    std::string location(answer.header("location"));
    auto const status = answer.status();
    answer.release();
    if (status < 300 || status > 399 || location.empty()) {
        co_return make_error(Errc::kUpstreamAuth, "The authorization page did not redirect (status " +
                                                      std::to_string(status) + "): somebody has to approve there.");
    }
    co_return std::move(location);
}

} // namespace

Approver make_headless_approver(net::HttpClient& http) {
    return [&http](core::Context const& context, std::string authorize_url) {
        return approve(http, context, std::move(authorize_url));
    };
}

} // namespace parley::mcp

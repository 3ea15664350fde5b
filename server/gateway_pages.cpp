// The routes that need no model: which page answers which. Member functions of the loop's Gateway; the pages are
// pages.cpp.
#include <utility>

#include "net/url.hpp"
#include "server/gateway.hpp"
#include "server/pages.hpp"

namespace parley::server {

using core::Errc;

void Gateway::answer_page(RouteId route, net::Request const& request, net::Exchange& exchange, RequestState& state) {
    auto const match = match_route(request.head.method, request.head.path);
    auto response = page(route, request, match.parameter, state.key.get());
    if (response) {
        answer(exchange, state, std::move(*response));
    } else {
        fail(exchange, state, response.error());
    }
}

core::Result<net::Response> Gateway::page(RouteId route, net::Request const& request, std::string_view parameter,
                                          policy::KeyRecord const* key) const {
    auto id = net::decode_segment(parameter);
    if (!id) return core::make_error(Errc::kUnknownUrl, id.error().message);
    switch (route) {
        case RouteId::kModels:
            return models_page(*catalogue_, key);
        case RouteId::kModel:
            return model_page(*catalogue_, *id, key);
        case RouteId::kAgents:
            return agents_page(*catalogue_, key);
        case RouteId::kAgent:
            return agent_page(*catalogue_, *id, key);
        case RouteId::kAgentHealth:
            return agent_health_page(*catalogue_, *id, key);
        case RouteId::kHealth: {
            auto const detailed = request.head.query.find("detailed=true") != std::string_view::npos;
            return health_page(*catalogue_, shared_, detailed);
        }
        case RouteId::kLive:
            return net::Response{200, R"({"status":"alive"})"};
        case RouteId::kReady:
            return ready_page(*catalogue_, shared_);
        case RouteId::kMetrics:
            return net::Response{200, shared_.metrics_page(*catalogue_), "text/plain; version=0.0.4; charset=utf-8"};
        case RouteId::kOpenApi:
            return openapi_page();
        case RouteId::kDocs:
            return docs_page();
        case RouteId::kRoot:
            return root_page(shared_);
        default: // those that are not a page
            break;
    }
    return core::make_error(Errc::kInternal, "This route has no page.");
}

} // namespace parley::server

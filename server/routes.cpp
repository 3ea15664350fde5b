#include "server/routes.hpp"

#include <array>

namespace parley::server {
namespace {

constexpr std::array kRoutes{
    Route{RouteId::kChatCompletions, "/v1/chat/completions", "", "POST", Access::kKey},
    Route{RouteId::kModels, "/v1/models", "", "GET", Access::kKey},
    Route{RouteId::kModel, "/v1/models/*", "", "GET", Access::kKey},
    Route{RouteId::kEmbeddings, "/v1/embeddings", "", "POST", Access::kKey},
    Route{RouteId::kAgents, "/agents", "", "GET", Access::kKey},
    Route{RouteId::kAgents, "/agents/", "", "GET", Access::kKey},
    Route{RouteId::kAgentHealth, "/agents/*", "/health", "GET", Access::kKey},
    Route{RouteId::kAgent, "/agents/*", "", "GET", Access::kKey},
    Route{RouteId::kHealth, "/health", "", "GET", Access::kOpen}, // ?detailed=true wants a key: gateway.cpp
    Route{RouteId::kLive, "/livez", "", "GET", Access::kOpen},
    Route{RouteId::kReady, "/readyz", "", "GET", Access::kOpen},
    Route{RouteId::kMetrics, "/metrics", "", "GET", Access::kKey},
    Route{RouteId::kOpenApi, "/openapi.json", "", "GET", Access::kOpen},
    Route{RouteId::kDocs, "/docs", "", "GET", Access::kOpen},
    Route{RouteId::kRoot, "/", "", "GET", Access::kOpen},
};

bool fits(Route const& route, std::string_view path, std::string_view& parameter) noexcept {
    if (!route.path.ends_with('*')) return path == route.path;
    auto const prefix = route.path.substr(0, route.path.size() - 1);
    if (!path.starts_with(prefix) || !path.ends_with(route.suffix)) return false;
    if (path.size() <= prefix.size() + route.suffix.size()) return false;
    parameter = path.substr(prefix.size(), path.size() - prefix.size() - route.suffix.size());
    return true;
}

} // namespace

Match match_route(std::string_view method, std::string_view path) noexcept {
    Match match;
    for (auto const& route : kRoutes) {
        std::string_view parameter;
        if (!fits(route, path, parameter)) continue;
        match.path_known = true;
        match.allow = route.method == "GET" ? "GET, HEAD, OPTIONS" : "POST, OPTIONS";
        auto const fitting = method == route.method || (method == "HEAD" && route.method == "GET");
        if (!fitting) continue;
        match.route = &route;
        match.parameter = parameter;
        return match;
    }
    return match;
}

std::span<Route const> all_routes() noexcept {
    return kRoutes;
}

} // namespace parley::server

#include "server/routes.hpp"

#include <array>
#include <optional>

namespace parley::server {
namespace {

constexpr std::array kRoutes{
    Route{RouteId::kChatCompletions, "/v1/chat/completions", "", "POST", Access::kKey, Scope::kChat},
    Route{RouteId::kModels, "/v1/models", "", "GET", Access::kKey, Scope::kModels},
    Route{RouteId::kModel, "/v1/models/*", "", "GET", Access::kKey, Scope::kModels},
    Route{RouteId::kEmbeddings, "/v1/embeddings", "", "POST", Access::kKey, Scope::kEmbeddings},
    Route{RouteId::kAgents, "/agents", "", "GET", Access::kKey, Scope::kAgents},
    Route{RouteId::kAgents, "/agents/", "", "GET", Access::kKey, Scope::kAgents},
    Route{RouteId::kAgentHealth, "/agents/*", "/health", "GET", Access::kKey, Scope::kAgents},
    Route{RouteId::kAgentConversation, "/agents/*", "/conversation/*", "GET", Access::kKey, Scope::kConversations},
    Route{RouteId::kAgentConversationDelete, "/agents/*", "/conversation/*", "DELETE", Access::kKey,
          Scope::kConversations},
    Route{RouteId::kAgent, "/agents/*", "", "GET", Access::kKey, Scope::kAgents},
    Route{RouteId::kConversations, "/conversations", "", "GET", Access::kKey, Scope::kConversations},
    Route{RouteId::kConversationsDelete, "/conversations", "", "DELETE", Access::kKey, Scope::kConversations},
    Route{RouteId::kConversationFork, "/conversations/*", "/fork", "POST", Access::kKey, Scope::kConversations},
    Route{RouteId::kConversation, "/conversations/*", "", "GET", Access::kKey, Scope::kConversations},
    Route{RouteId::kConversationDelete, "/conversations/*", "", "DELETE", Access::kKey, Scope::kConversations},
    Route{RouteId::kHealth, "/health", "", "GET", Access::kOpen,
          Scope::kNone}, // ?detailed=true wants a key: gateway.cpp
    Route{RouteId::kLive, "/livez", "", "GET", Access::kOpen, Scope::kNone},
    Route{RouteId::kReady, "/readyz", "", "GET", Access::kOpen, Scope::kNone},
    Route{RouteId::kMetrics, "/metrics", "", "GET", Access::kKey, Scope::kOperate},
    Route{RouteId::kOpenApi, "/openapi.json", "", "GET", Access::kOpen, Scope::kNone},
    Route{RouteId::kDocs, "/docs", "", "GET", Access::kOpen, Scope::kNone},
    Route{RouteId::kRoot, "/", "", "GET", Access::kOpen, Scope::kNone},
};

constexpr std::array<std::string_view, 6> kScopeNames{"chat",   "embeddings",    "models",
                                                      "agents", "conversations", "operate"};

constexpr bool every_route_has_its_scope() {
    for (auto const& route : kRoutes)
        if ((route.access == Access::kKey) != (route.scope != Scope::kNone)) return false;
    return true;
}
static_assert(every_route_has_its_scope(), "a route with a key says whose");

struct Parameters {
    std::string_view first, second;
};

std::optional<Parameters> fit(Route const& route, std::string_view path) noexcept {
    if (!route.path.ends_with('*')) return path == route.path ? std::optional(Parameters{}) : std::nullopt;
    auto const prefix = route.path.substr(0, route.path.size() - 1);
    if (!path.starts_with(prefix)) return std::nullopt;
    path.remove_prefix(prefix.size());
    if (!route.suffix.ends_with('*')) {
        if (!path.ends_with(route.suffix) || path.size() <= route.suffix.size()) return std::nullopt;
        return Parameters{path.substr(0, path.size() - route.suffix.size()), {}};
    }
    auto const between = route.suffix.substr(0, route.suffix.size() - 1);
    auto const at = path.find(between);
    if (at == 0 || at == std::string_view::npos || at + between.size() == path.size()) return std::nullopt;
    return Parameters{path.substr(0, at), path.substr(at + between.size())};
}

// The methods of the routes with the path of this one.
std::string_view methods_at(Route const& route) noexcept {
    bool gets = false;
    bool deletes = false;
    for (auto const& other : kRoutes) {
        if (other.path != route.path || other.suffix != route.suffix) continue;
        gets = gets || other.method == "GET";
        deletes = deletes || other.method == "DELETE";
    }
    if (!gets) return "POST, OPTIONS";
    return deletes ? "GET, HEAD, DELETE, OPTIONS" : "GET, HEAD, OPTIONS";
}

} // namespace

Match match_route(std::string_view method, std::string_view path) noexcept {
    Match match;
    for (auto const& route : kRoutes) {
        auto const found = fit(route, path);
        if (!found) continue;
        if (!match.path_known) match.allow = methods_at(route);
        match.path_known = true;
        auto const fitting = method == route.method || (method == "HEAD" && route.method == "GET");
        if (!fitting) continue;
        match.route = &route;
        match.parameter = found->first;
        match.second = found->second;
        return match;
    }
    return match;
}

std::string_view scope_name(Scope scope) noexcept {
    return scope == Scope::kNone ? std::string_view{} : kScopeNames[static_cast<std::size_t>(scope) - 1];
}

std::span<std::string_view const> scope_names() noexcept {
    return kScopeNames;
}

std::span<Route const> all_routes() noexcept {
    return kRoutes;
}

} // namespace parley::server

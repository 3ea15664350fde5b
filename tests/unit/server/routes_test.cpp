#include "server/routes.hpp"

#include <gtest/gtest.h>

#include <string>

namespace parley::server {
namespace {

TEST(Routes, FindsExactPathsOnly) {
    EXPECT_EQ(match_route("POST", "/v1/chat/completions").route->id, RouteId::kChatCompletions);
    EXPECT_EQ(match_route("HEAD", "/v1/models").route->id, RouteId::kModels);
    for (auto const* path : {"//v1//chat/completions", "/v1/%63hat/completions", "/v1/chat/completions/",
                             "/v1/../agents", "/V1/models", "/v1", ""}) {
        EXPECT_FALSE(match_route("POST", path).path_known) << path;
    }
}

TEST(Routes, GivesTheParameterAsSent) {
    EXPECT_EQ(match_route("GET", "/v1/models/org/model:1@v2").parameter, "org/model:1@v2");
    EXPECT_EQ(match_route("GET", "/v1/models/a%2Fb").parameter, "a%2Fb");
    EXPECT_EQ(match_route("GET", "/agents/a/b/health").route->id, RouteId::kAgentHealth);
    EXPECT_EQ(match_route("GET", "/agents/a/b/health").parameter, "a/b");
    EXPECT_EQ(match_route("GET", "/agents/a").route->id, RouteId::kAgent);
    EXPECT_FALSE(match_route("GET", "/v1/models/").path_known);
}

TEST(Routes, TwoParameters) {
    auto const match = match_route("DELETE", "/agents/a/b/conversation/s%2F1");
    ASSERT_NE(match.route, nullptr);
    EXPECT_EQ(match.route->id, RouteId::kAgentConversationDelete);
    EXPECT_EQ(match.parameter, "a/b");
    EXPECT_EQ(match.second, "s%2F1");
    EXPECT_EQ(match_route("GET", "/agents/a/conversation/").route->id, RouteId::kAgent);
    EXPECT_EQ(match_route("POST", "/conversations/s/fork").route->id, RouteId::kConversationFork);
    EXPECT_EQ(match_route("POST", "/conversations/s").allow, "GET, HEAD, DELETE, OPTIONS");
}

TEST(Routes, TellsAWrongMethodFromAWrongPath) {
    auto const wrong = match_route("DELETE", "/v1/models");
    EXPECT_EQ(wrong.route, nullptr);
    EXPECT_TRUE(wrong.path_known);
    EXPECT_EQ(wrong.allow, "GET, HEAD, OPTIONS");
    EXPECT_EQ(match_route("GET", "/v1/chat/completions").allow, "POST, OPTIONS");
}

// What costs money or shows how the house is set up needs a key; only these do not.
TEST(Routes, OpenRoutesAreAShortList) {
    for (auto const& route : all_routes()) {
        auto const open = route.path == "/health" || route.path == "/livez" || route.path == "/readyz" ||
                          route.path == "/openapi.json" || route.path == "/docs" || route.path == "/";
        EXPECT_EQ(route.access == Access::kOpen, open) << route.path;
    }
}

} // namespace
} // namespace parley::server

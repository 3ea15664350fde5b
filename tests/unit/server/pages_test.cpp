// What /health and /agents say of MCP servers, from a configuration and from what runs.
#include "server/pages.hpp"

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

namespace parley::server {
namespace {

namespace js = boost::json;

class PagesTest : public ::testing::Test {
protected:
    PagesTest() {
        agents::GatewayConfig config;
        config.providers.push_back({"demo", "demo", "", {}});
        for (auto const* label : {"fs", "web", "down"}) {
            auto& server = config.mcp_servers.emplace_back();
            server.label = label;
        }
        config.mcp_servers[1].allowed_tools = {{"get"}};
        config.mcp_servers[2].unavailable = "TOKEN is not set";
        add_agent(config, "all", std::nullopt);
        add_agent(config, "none", agents::AllowedServers::value_type{});
        add_agent(config, "some", {{{"fs", {{"read_file", "list"}}}, {"web", std::nullopt}}});
        catalogue_ = agents::Catalogue::build(std::move(config), nullptr, 1);
        shared_.store_health = [] { return StoreHealth{"SQLite data/parley.db", true, {}, 1}; };
        shared_.reload_state = [] { return std::make_shared<ReloadState const>(); };
    }

    static void add_agent(agents::GatewayConfig& config, std::string id, agents::AllowedServers servers) {
        auto& agent = config.agents.emplace_back();
        agent.agent_id = std::move(id);
        agent.provider = "demo";
        agent.model = "demo";
        agent.allowed_mcp_servers = std::move(servers);
    }

    js::value agent_servers(std::string_view id) const {
        auto const page = agent_page(*catalogue_, id, nullptr);
        EXPECT_TRUE(page);
        return js::parse(page->body).at("mcp_servers");
    }

    js::value health() const { return js::parse(health_page(*catalogue_, shared_, true).body).at("mcp_servers"); }

    std::shared_ptr<agents::Catalogue const> catalogue_;
    GatewayShared shared_;
};

TEST_F(PagesTest, AnAgentListsTheServersItMayUse) {
    EXPECT_EQ(agent_servers("all"), js::parse(R"([
        {"label":"fs","status":"configured","allowed_tools":null},
        {"label":"web","status":"configured","allowed_tools":["get"]},
        {"label":"down","status":"unavailable","reason":"TOKEN is not set","allowed_tools":null}])"));
    EXPECT_EQ(agent_servers("none"), js::parse("[]"));
    EXPECT_EQ(agent_servers("some"), js::parse(R"([
        {"label":"fs","status":"configured","allowed_tools":["read_file","list"]},
        {"label":"web","status":"configured","allowed_tools":["get"]}])"));
}

TEST_F(PagesTest, HealthTellsWhatIsConfiguredWhereNothingRuns) {
    EXPECT_EQ(health(), js::parse(R"([{"label":"fs","status":"configured"},{"label":"web","status":"configured"},
        {"label":"down","status":"unavailable","reason":"TOKEN is not set"}])"));
}

TEST_F(PagesTest, HealthTellsWhatRuns) {
    shared_.mcp_health = [] {
        return std::vector<McpServerHealth>{{"fs",
                                             "stdio",
                                             "ready",
                                             "2025-11-25",
                                             2,
                                             {{"list", "read_file"}},
                                             "",
                                             {"starting \"fs\"", "ready"},
                                             {},
                                             {"list"}},
                                            {"web", "http", "failed", "", 0, std::nullopt, "connection refused"},
                                            {"old", "stdio", "ready", "", 1, std::vector<std::string>{}}};
    };
    EXPECT_EQ(health(), js::parse(R"([
        {"label":"fs","status":"configured","transport":"stdio","state":"ready","sessions":2,
         "protocol_version":"2025-11-25","changed_tools":["list"],"tools":["list","read_file"],
         "stderr":["starting \"fs\"","ready"]},
        {"label":"web","status":"configured","transport":"http","state":"failed","sessions":0,"tools":null,
         "last_error":"connection refused"},
        {"label":"down","status":"unavailable","reason":"TOKEN is not set"},
        {"label":"old","status":"removed","transport":"stdio","state":"ready","sessions":1,"tools":[]}])"));
}

} // namespace
} // namespace parley::server

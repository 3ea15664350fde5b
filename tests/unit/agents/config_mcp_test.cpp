// mcp.json in every dialect: what each comes to, and what disables a server.
#include <gtest/gtest.h>

#include "agents/config_loader.hpp"
#include "tests/unit/agents/config_fixture.hpp"

namespace parley::agents {
namespace {

using testing::load;
using Names = std::vector<std::string>;

std::vector<McpServerConfig> servers(std::string const& mcp, testing::Texts env = {}) {
    return testing::good(
               {.agent_config = R"({"agent_id": "a", "provider": "demo"})", .mcp = mcp, .env = std::move(env)})
        .mcp_servers;
}

McpServerConfig server(std::string const& members, testing::Texts env = {}) {
    auto all = servers(R"({"mcpServers": {"s": {)" + members + "}}}", std::move(env));
    EXPECT_EQ(all.size(), 1U);
    return all.empty() ? McpServerConfig{} : std::move(all.front());
}

std::string value(std::vector<std::pair<std::string, core::Secret>> const& list, std::string_view name) {
    for (auto const& [key, secret] : list) {
        if (key == name) return secret.reveal();
    }
    return "<none>";
}

TEST(ConfigMcp, OriginalArray) {
    auto const all = servers(R"([
        {"server_label": "github", "server_url": "https://api.example/mcp/", "require_approval": "never",
         "header": {"authorization": "Bearer ${GITHUB_TOKEN}", "x-user-id": ""}},
        {"server_label": "searxng", "command": "npx", "args": ["-y", "mcp-searxng"], "env": {"URL": "${SEARX:-http://h}"}}])",
                             {{"GITHUB_TOKEN", "t0ken"}});
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[0].label, "github");
    EXPECT_EQ(all[0].transport, McpTransport::kHttpOrSse);
    EXPECT_EQ(all[0].url.reveal(), "https://api.example/mcp/");
    EXPECT_EQ(value(all[0].headers, "authorization"), "Bearer t0ken");
    EXPECT_EQ(value(all[0].headers, "x-user-id"), "");
    EXPECT_EQ(all[0].require_approval, Approval::kNever);
    EXPECT_TRUE(all[0].unavailable.empty());
    EXPECT_EQ(all[1].transport, McpTransport::kStdio);
    EXPECT_EQ(all[1].command, "npx");
    ASSERT_EQ(all[1].args.size(), 2U);
    EXPECT_EQ(all[1].args[1].reveal(), "mcp-searxng");
    EXPECT_EQ(value(all[1].env, "URL"), "http://h");
}

TEST(ConfigMcp, AnUnsetVariableDisablesOnlyItsServer) {
    auto const all = servers(R"([{"server_label": "a", "server_url": "https://h", "header": {"k": "${TOKEN}"}},
                                 {"server_label": "b", "command": "c", "args": ["${X}", "${Y}"]},
                                 {"server_label": "c", "command": "c"}])");
    ASSERT_EQ(all.size(), 3U);
    EXPECT_EQ(all[0].unavailable, "TOKEN is not set");
    EXPECT_TRUE(all[0].headers.empty());
    EXPECT_EQ(all[1].unavailable, "X and Y are not set");
    EXPECT_TRUE(all[2].unavailable.empty());
}

TEST(ConfigMcp, EveryRootHoldsTheSameServers) {
    for (std::string const mcp : {
             R"([{"server_label": "s", "command": "c"}])",
             R"([{"name": "s", "command": "c"}])",
             R"({"server_label": "s", "command": "c"})",
             R"({"mcpServers": {"s": {"command": "c"}}})",
             R"({"servers": {"s": {"command": "c"}}, "inputs": []})",
             R"({"mcp_servers": {"s": {"command": "c"}}})",
             R"({"mcpServers": [{"server_label": "s", "command": "c"}]})",
             R"({"$schema": "x", "s": {"command": "c"}})",
         }) {
        auto const all = servers(mcp);
        ASSERT_EQ(all.size(), 1U) << mcp;
        EXPECT_EQ(all[0].label, "s") << mcp;
        EXPECT_EQ(all[0].command, "c") << mcp;
    }
}

TEST(ConfigMcp, SaysWhichServersAreNotRead) {
    auto const warnings = [](std::string const& mcp) {
        return testing::load({.agent_config = R"([{"agent_id": "a", "provider": "demo"}])", .mcp = mcp}).warnings;
    };
    auto const two =
        warnings(R"({"mcpServers": {"a": {"command": "c"}}, "servers": {"b": {"command": "c"}}, "inputs": []})");
    ASSERT_EQ(two.size(), 1U);
    EXPECT_EQ(two[0], "mcp.json: /servers is not read, because servers are in /mcpServers; move them there");
    auto const near = warnings(R"({"mcpServers": {"a": {"command": "c"}}, "mcpServer": {"b": {"command": "c"}}})");
    ASSERT_EQ(near.size(), 1U);
    EXPECT_NE(near[0].find("/mcpServer is not read"), std::string::npos);
    EXPECT_TRUE(warnings(R"({"server": {"command": "c"}, "mcp": {"command": "c"}})").empty())
        << "labels like any other";
}

TEST(ConfigMcp, KeysAndHeadersAreOneLine) {
    auto const all = servers(R"([
        {"server_label": "a", "url": "http://h/mcp?key=${K}", "headers": {"Authorization": "Bearer ${K}", "X-User-Id": ""}},
        {"server_label": "b", "url": "http://h", "auth": "${K}"},
        {"server_label": "c", "url": "http://h", "auth_type": "api_key", "auth_value": "${K}"},
        {"server_label": "d", "url": "http://h", "oauth": {"client_id": "i", "client_secret": "${K}"}},
        {"server_label": "e", "url": "http://h", "headers": {"Content-Type": "application/json", "content-length": "5"}}])",
                             {{"K", "key\n"}});
    ASSERT_EQ(all.size(), 5U);
    EXPECT_EQ(all[0].url.reveal(), "http://h/mcp?key=key");
    EXPECT_EQ(all[0].headers[0].second.reveal(), "Bearer key");
    EXPECT_EQ(all[0].headers[1].second.reveal(), "");
    EXPECT_EQ(all[1].headers[0].second.reveal(), "Bearer key");
    EXPECT_EQ(all[2].headers[0].second.reveal(), "key");
    EXPECT_EQ(all[3].oauth.client_secret.reveal(), "key");
    EXPECT_TRUE(all[4].headers.empty()) << "the connection has its own";
}

TEST(ConfigMcp, TransportIsToldOrInferred) {
    struct Case {
        std::string_view members;
        McpTransport transport;
    };
    for (auto const& [members, transport] : {
             Case{R"("command": "c")", McpTransport::kStdio},
             Case{R"("url": "https://h/mcp")", McpTransport::kHttpOrSse},
             Case{R"("serverUrl": "https://h/sse")", McpTransport::kSse},
             Case{R"("url": "https://h/sse/?k=1")", McpTransport::kSse},
             Case{R"("httpUrl": "https://h/sse")", McpTransport::kHttp},
             Case{R"("httpUrl": "https://h/mcp")", McpTransport::kHttp},
             Case{R"("url": "https://h/sse", "type": "http")", McpTransport::kHttp},
             Case{R"("url": "https://h", "type": "streamable-http")", McpTransport::kHttp},
             Case{R"("url": "https://h", "type": "streamableHttp")", McpTransport::kHttp},
             Case{R"("url": "https://h", "transport": "streamable_http")", McpTransport::kHttp},
             Case{R"("url": "https://h", "transportType": "sse")", McpTransport::kSse},
             Case{R"("url": "https://h", "command": "c", "type": "stdio")", McpTransport::kStdio},
         }) {
        EXPECT_EQ(server(std::string(members)).transport, transport) << members;
    }
}

TEST(ConfigMcp, OtherWaysToNameAVariable) {
    testing::Texts const env{{"KEY", "v"}, {"HOME", "/homes/me"}, {"MCP_INPUT_MY_KEY", "asked"}};
    auto const s = server(
        R"("command": "${userHome}/bin/c", "args": ["${env:KEY}", "os.environ/KEY", "env.KEY", "${input:my-key}",
            "env.lower", "$KEY", "${pathSeparator}", "${workspaceFolderBasename}", "$${KEY}"],
           "cwd": "${workspaceFolder}")",
        env);
    EXPECT_TRUE(s.unavailable.empty()) << s.unavailable;
    EXPECT_EQ(s.command, "/homes/me/bin/c");
    Names args;
    for (auto const& arg : s.args)
        args.push_back(arg.reveal());
    ASSERT_EQ(args.size(), 9U);
    EXPECT_EQ((Names{args[0], args[1], args[2], args[3]}), (Names{"v", "v", "v", "asked"}));
    EXPECT_EQ((Names{args[4], args[5], args[6], args[8]}), (Names{"env.lower", "$KEY", "/", "${KEY}"}));
    EXPECT_TRUE(s.cwd.ends_with(args[7]));
    EXPECT_EQ(s.cwd.front(), '/');

    // Only Gemini CLI's files use $NAME; whoever has its keys is read as one.
    auto const gemini =
        server(R"("httpUrl": "https://h", "trust": true, "headers": {"K": "Bearer $KEY$ $1 ${KEY}"})", env);
    EXPECT_EQ(value(gemini.headers, "K"), "Bearer v$ $1 v");
    EXPECT_EQ(server(R"("command": "c", "args": ["${input:other}"])", env).unavailable,
              "MCP_INPUT_OTHER (of ${input:other}) is not set");
}

TEST(ConfigMcp, TimeoutsInSecondsAndMilliseconds) {
    using std::chrono::milliseconds;
    EXPECT_EQ(server(R"("command": "c", "timeout": 30)").call_timeout, milliseconds(30'000));
    EXPECT_EQ(server(R"("command": "c", "timeout": 5000)").call_timeout, milliseconds(5'000));
    EXPECT_EQ(server(R"("command": "c", "timeout_ms": 30)").call_timeout, milliseconds(30));
    EXPECT_EQ(server(R"("command": "c", "timeout_ms": 30)").call_idle_timeout, milliseconds(30));
    EXPECT_EQ(server(R"("command": "c")").call_timeout, milliseconds(300'000));
    EXPECT_EQ(server(R"("command": "c")").call_idle_timeout, milliseconds(60'000));
    auto const mixed = server(R"("command": "c", "timeout": 600, "idle_timeout_ms": 5000, "connect_timeout_ms": 1,
                                 "start_timeout_ms": 120000, "idle_stop_ms": 0)");
    EXPECT_EQ(mixed.call_timeout, milliseconds(600'000));
    EXPECT_EQ(mixed.call_idle_timeout, milliseconds(5'000));
    EXPECT_EQ(mixed.connect_timeout, milliseconds(1));
    EXPECT_EQ(mixed.start_timeout, milliseconds(120'000));
    EXPECT_EQ(mixed.idle_stop, milliseconds(0));
    EXPECT_EQ(server(R"("command": "c", "idle_timeout_ms": 900000)").call_timeout, milliseconds(900'000));
    testing::Texts const env{{"MCP_TOOL_CACHE_TTL", "7"}, {"TOOL_EXECUTION_TIMEOUT", "20"}};
    auto const by_environment = server(R"("command": "c")", env);
    EXPECT_EQ(by_environment.tools_ttl, milliseconds(7'000));
    EXPECT_EQ(by_environment.call_timeout, milliseconds(20'000));
    EXPECT_EQ(by_environment.call_idle_timeout, milliseconds(20'000));
    EXPECT_EQ(server(R"("command": "c", "timeout": 3)", env).call_timeout, milliseconds(3'000));
}

TEST(ConfigMcp, AllowAndDenyUnderTheirManyNames) {
    for (std::string const key : {"allowed_tools", "includeTools", "tools_to_execute"}) {
        EXPECT_EQ(server(R"("command": "c", ")" + key + R"(": ["x"])").allowed_tools, Names{"x"}) << key;
    }
    EXPECT_FALSE(server(R"("command": "c")").allowed_tools.has_value());
    EXPECT_EQ(server(R"("command": "c", "allowed_tools": [])").allowed_tools, Names{});
    for (std::string const key : {"disallowed_tools", "excludeTools", "disabledTools", "disabled_tools"}) {
        EXPECT_EQ(server(R"("command": "c", ")" + key + R"(": ["x"])").denied_tools, Names{"x"}) << key;
    }
}

TEST(ConfigMcp, DisabledServers) {
    EXPECT_TRUE(server(R"("command": "c", "disabled": true)").disabled);
    EXPECT_TRUE(server(R"("command": "c", "enabled": false)").disabled);
    EXPECT_FALSE(server(R"("command": "c", "enabled": true, "disabled": false)").disabled);
}

TEST(ConfigMcp, UnknownKeysAreCarriedWithAWarning) {
    auto const loaded =
        load({.agent_config = R"({"agent_id": "a", "provider": "demo"})",
              .mcp = R"({"mcpServers": {"s": {"comand": "x", "command": "c", "dev": {"watch": "*"}}}})"});
    ASSERT_TRUE(loaded.config.has_value());
    EXPECT_EQ(loaded.config->mcp_servers[0].carried.size(), 2U);
    EXPECT_EQ(loaded.warnings.size(), 2U);
    EXPECT_TRUE(testing::mentions(loaded.warnings,
                                  "/mcpServers/s/comand is not known here and has no effect; did you "
                                  "mean \"command\"?"));
}

TEST(ConfigMcp, ShownUrlsHoldNoSecret) {
    auto const s = server(R"("url": "https://${HOST_NAME}/mcp?key=literal")", {{"HOST_NAME", "secret.example"}});
    EXPECT_EQ(s.url.reveal(), "https://secret.example/mcp?key=literal");
    EXPECT_EQ(s.url_shown, "https://${HOST_NAME}/mcp");
}

TEST(ConfigMcp, UnixSocketsDisableTheServer) {
    EXPECT_FALSE(server(R"("url": "unix:///run/x.sock")").unavailable.empty());
}

} // namespace
} // namespace parley::agents

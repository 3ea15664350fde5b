// What people paste from the files of other hosts: every dialect comes to the same server. And the keys that are ours.
// Source of the forms: the documentation of each host.
#include <gtest/gtest.h>

#include "agents/config_loader.hpp"
#include "tests/unit/agents/config_fixture.hpp"

namespace parley::agents {
namespace {

using mcp::OAuthOptions;
using std::chrono::milliseconds;

std::vector<McpServerConfig> pasted(std::string const& mcp, testing::Texts files = {}) {
    return testing::good({.agent_config = R"({"agent_id": "a", "provider": "demo"})",
                          .mcp = mcp,
                          .env = {{"TOKEN", "t0k"}, {"MCP_INPUT_TOKEN", "t0k"}},
                          .files = std::move(files)})
        .mcp_servers;
}

mcp::ServerSpec program() {
    mcp::ServerSpec spec{"fs"};
    spec.command = "npx";
    spec.args = {core::Secret("-y"), core::Secret("server-filesystem"), core::Secret("/data")};
    spec.env = {{"API_KEY", core::Secret("t0k")}};
    return spec;
}

mcp::ServerSpec remote(mcp::Transport transport = mcp::Transport::kHttp, std::string const& path = "/mcp") {
    mcp::ServerSpec spec{"web", transport};
    spec.url = core::Secret("https://h.example" + path);
    spec.url_shown = "https://h.example" + path;
    spec.headers = {{"Authorization", core::Secret("Bearer t0k")}};
    return spec;
}

void expect_one(std::string const& mcp, mcp::ServerSpec const& expected) {
    auto const all = pasted(mcp);
    ASSERT_EQ(all.size(), 1U) << mcp;
    EXPECT_EQ(all[0].unavailable, "") << mcp;
    EXPECT_EQ(static_cast<mcp::ServerSpec const&>(all[0]), expected) << mcp;
}

TEST(ConfigMcpDialects, Original) {
    expect_one(R"([{"server_label": "fs", "command": "npx", "args": ["-y", "server-filesystem", "/data"],
                    "env": {"API_KEY": "${TOKEN}"}, "require_approval": "never"}])",
               program());
    expect_one(R"([{"server_label": "web", "server_url": "https://h.example/mcp", "require_approval": "never",
                    "header": {"Authorization": "Bearer ${TOKEN}"}}])",
               remote(mcp::Transport::kHttpOrSse));
}

TEST(ConfigMcpDialects, ClaudeDesktop) {
    expect_one(R"({"mcpServers": {"fs": {"command": "npx", "args": ["-y", "server-filesystem", "/data"],
                    "env": {"API_KEY": "t0k"}}}})",
               program());
}

TEST(ConfigMcpDialects, ClaudeCode) {
    expect_one(
        R"({"mcpServers": {"fs": {"type": "stdio", "command": "npx", "args": ["-y", "server-filesystem", "/data"],
                    "env": {"API_KEY": "${TOKEN:-none}"}}}})",
        program());
    expect_one(R"({"mcpServers": {"web": {"type": "http", "url": "https://h.example/mcp",
                    "headers": {"Authorization": "Bearer ${TOKEN}"}, "alwaysLoad": true}}})",
               remote());
}

TEST(ConfigMcpDialects, Cursor) {
    expect_one(R"({"mcpServers": {"fs": {"command": "npx", "args": ["-y", "server-filesystem", "/data"],
                    "env": {"API_KEY": "${env:TOKEN}"}}}})",
               program());
    auto expected = remote(mcp::Transport::kHttpOrSse);
    expected.headers.clear();
    expected.oauth.client_id = "me";
    expected.oauth.client_secret = core::Secret("t0k");
    expected.oauth.scopes = {"read", "write"};
    expect_one(R"({"mcpServers": {"web": {"url": "https://h.example/mcp",
                    "auth": {"CLIENT_ID": "me", "CLIENT_SECRET": "${env:TOKEN}", "scopes": ["read", "write"]}}}})",
               expected);
}

TEST(ConfigMcpDialects, VsCode) {
    expect_one(R"({"inputs": [{"type": "promptString", "id": "token", "password": true}], // comments are fine
                   "servers": {"fs": {"type": "stdio", "command": "npx", "args": ["-y", "server-filesystem", "/data"],
                    "env": {"API_KEY": "${input:token}"}, "dev": {"watch": "*"}, }}})",
               program());
    expect_one(R"({"servers": {"web": {"type": "http", "url": "https://h.example/mcp",
                    "headers": {"Authorization": "Bearer ${input:token}"}}}})",
               remote());
}

TEST(ConfigMcpDialects, Windsurf) {
    expect_one(R"({"mcpServers": {"web": {"serverUrl": "https://h.example/mcp",
                    "headers": {"Authorization": "Bearer ${env:TOKEN}"}}}})",
               remote(mcp::Transport::kHttpOrSse));
}

TEST(ConfigMcpDialects, Cline) {
    auto expected = remote();
    expected.call_timeout = expected.call_idle_timeout = milliseconds(60'000);
    expect_one(R"({"mcpServers": {"web": {"type": "streamableHttp", "url": "https://h.example/mcp", "disabled": false,
                    "headers": {"Authorization": "Bearer t0k"}, "autoApprove": [], "timeout": 60}}})",
               expected);
}

TEST(ConfigMcpDialects, GeminiCli) {
    auto expected = remote();
    expected.call_timeout = expected.call_idle_timeout = milliseconds(5'000);
    expect_one(R"({"mcpServers": {"web": {"httpUrl": "https://h.example/mcp", "timeout": 5000, "trust": true,
                    "headers": {"Authorization": "Bearer $TOKEN"}}}})",
               expected);
    expect_one(R"({"mcpServers": {"web": {"url": "https://h.example/sse", "trust": true,
                    "headers": {"Authorization": "Bearer $TOKEN"}}}})",
               remote(mcp::Transport::kSse, "/sse"));
}

TEST(ConfigMcpDialects, Mcpo) {
    expect_one(R"({"mcpServers": {"web": {"type": "streamable-http", "url": "https://h.example/mcp",
                    "headers": {"Authorization": "Bearer t0k"}}}})",
               remote());
    EXPECT_EQ(pasted(R"({"mcpServers": {"fs": {"command": "c", "disabledTools": ["rm"]}}})")[0].denied_tools,
              std::vector<std::string>{"rm"});
}

TEST(ConfigMcpDialects, FastMcp) {
    expect_one(R"({"mcpServers": {"web": {"transport": "http", "url": "https://h.example/mcp", "auth": "${TOKEN}"}}})",
               remote());
    auto expected = remote();
    expected.headers.clear();
    expect_one(R"({"mcpServers": {"web": {"transport": "http", "url": "https://h.example/mcp", "auth": "oauth"}}})",
               expected);
}

TEST(ConfigMcpDialects, LiteLlm) {
    auto expected = remote();
    expected.forward_headers = {"x-tenant"};
    expect_one(R"({"mcp_servers": {"web": {"url": "https://h.example/mcp", "transport": "http",
                    "auth_type": "bearer_token", "auth_value": "os.environ/TOKEN", "extra_headers": ["X-Tenant"]}}})",
               expected);
    expected.headers = {{"X-API-Key", core::Secret("t0k")}};
    expected.forward_headers.clear();
    expect_one(R"({"mcp_servers": {"web": {"url": "https://h.example/mcp", "transport": "http",
                    "auth_type": "api_key", "auth_value": "os.environ/TOKEN"}}})",
               expected);
}

TEST(ConfigMcpDialects, Bifrost) {
    testing::Given const given{.agent_config = R"({"agent_id": "a", "provider": "demo"})",
                               .mcp = R"({"mcp": {"client_configs": [
        {"name": "fs", "connection_type": "stdio", "tools_to_execute": ["read"],
         "stdio_config": {"command": "npx", "args": ["-y", "server-filesystem", "/data"], "envs": ["API_KEY"]}},
        {"name": "web", "connection_type": "http", "connection_string": "https://h.example/mcp",
         "headers": {"Authorization": "Bearer t0k"}}]}})",
                               .env = {{"API_KEY", "t0k"}}};
    auto const all = testing::good(given).mcp_servers;
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(static_cast<mcp::ServerSpec const&>(all[0]), program());
    EXPECT_EQ(static_cast<mcp::ServerSpec const&>(all[1]), remote());
    EXPECT_EQ(all[0].allowed_tools, std::vector<std::string>{"read"});
}

TEST(ConfigMcpDialects, Comate) {
    expect_one(R"({"mcpServers": {"web": {"transportType": "sse", "url": "https://h.example/mcp",
                    "headers": {"Authorization": "Bearer t0k"}}}})",
               remote(mcp::Transport::kSse));
}

// ---- ours

TEST(ConfigMcpOptions, AllOfThem) {
    auto const all = pasted(R"([{"server_label": "s", "server_url": "https://h", "era": "modern", "eager": true,
        "shared": true, "result_bytes_max": 2048, "pins": "block", "elicitation": "defaults", "calls_max": 3,
        "roots": ["file:///data"], "forward_headers": ["X-Trace"], "ca_file": "ca.pem"}])");
    ASSERT_EQ(all.size(), 1U);
    auto const& s = all[0];
    EXPECT_EQ(s.era, mcp::Era::kModern);
    EXPECT_TRUE(s.eager && s.shared);
    EXPECT_EQ(s.result_bytes_max, 2048U);
    EXPECT_EQ(s.pins, mcp::PinPolicy::kBlock);
    EXPECT_EQ(s.elicitation, mcp::Elicitation::kDefaults);
    EXPECT_EQ(s.calls_max, 3U);
    EXPECT_EQ(s.roots, std::vector<std::string>{"file:///data"});
    EXPECT_EQ(s.forward_headers, std::vector<std::string>{"x-trace"});
    EXPECT_EQ(s.ca_file, "ca.pem");
}

TEST(ConfigMcpOptions, OAuth) {
    auto const all = pasted(R"([{"server_label": "s", "server_url": "https://h", "oauth": {"grant": "token_exchange",
        "client_id": "c", "client_secret": "${TOKEN}", "private_key_file": "key.pem", "signing_algorithm": "RS256",
        "client_metadata_url": "https://m", "redirect_uri": "http://localhost:1/cb", "scopes": ["a"], "assertion": "jwt",
        "dpop": true, "issuer": "https://as", "idp_issuer": "https://i", "idp_token_url": "https://i/t", "idp_client_id": "ic",
        "idp_client_secret": "is"}}])",
                            {{"key.pem", "PEM"}});
    ASSERT_EQ(all.size(), 1U);
    OAuthOptions expected;
    expected.grant = OAuthOptions::Grant::kTokenExchange;
    expected.client_id = "c";
    expected.client_secret = core::Secret("t0k");
    expected.private_key_pem = core::Secret("PEM");
    expected.signing_algorithm = "RS256";
    expected.client_metadata_url = "https://m";
    expected.redirect_uri = "http://localhost:1/cb";
    expected.scopes = {"a"};
    expected.assertion = core::Secret("jwt");
    expected.issuer = "https://as";
    expected.idp_issuer = "https://i";
    expected.idp_token_url = "https://i/t";
    expected.idp_client_id = "ic";
    expected.idp_client_secret = core::Secret("is");
    expected.dpop = true;
    EXPECT_EQ(all[0].oauth, expected);
}

TEST(ConfigMcpOptions, FilesThatAreMissingDisableTheServerOnly) {
    auto const all = pasted(R"([{"server_label": "a", "command": "c", "env_file": "no.env"},
        {"server_label": "b", "server_url": "https://h", "oauth": {"private_key_file": "no.pem"}},
        {"server_label": "c", "server_url": "https://h", "oauth": {"client_secret": "${NOT_THERE}"}},
        {"server_label": "d", "command": "c"}])");
    ASSERT_EQ(all.size(), 4U);
    EXPECT_NE(all[0].unavailable.find("\"no.env\""), std::string::npos);
    EXPECT_NE(all[1].unavailable.find("\"no.pem\""), std::string::npos);
    EXPECT_EQ(all[2].unavailable, "NOT_THERE is not set");
    EXPECT_EQ(all[3].unavailable, "");
}

TEST(ConfigMcpOptions, AnEnvFileFillsWhatEnvLeavesOpen) {
    auto const all = pasted(R"([{"server_label": "a", "command": "c", "envFile": "x.env", "env": {"A": "own"}}])",
                            {{"x.env", "A=file\nB='two words'\nB=last\n"}});
    ASSERT_EQ(all.size(), 1U);
    ASSERT_EQ(all[0].env.size(), 2U);
    EXPECT_EQ(all[0].env[0].second.reveal(), "own");
    EXPECT_EQ(all[0].env[1].first, "B");
    EXPECT_EQ(all[0].env[1].second.reveal(), "last");
}

TEST(ConfigMcpOptions, Faults) {
    auto const fault = [](std::string const& members) {
        return testing::only_fault(
            testing::load({.agent_config = R"({"agent_id": "a", "provider": "demo"})",
                           .mcp = R"([{"server_label": "s", "command": "c", )" + members + "}]"}));
    };
    EXPECT_EQ(fault(R"("era": "moden")").hint, "did you mean \"modern\"?");
    EXPECT_EQ(fault(R"("roots": ["/data"])").pointer, "/0/roots");
    EXPECT_EQ(fault(R"("forward_headers": ["Authorization"])").pointer, "/0/forward_headers");
    EXPECT_EQ(fault(R"("result_bytes_max": 1)").pointer, "/0/result_bytes_max");
    EXPECT_EQ(fault(R"("oauth": {"grant": "password"})").pointer, "/0/oauth/grant");
    auto const environment =
        testing::only_fault(testing::load({.agent_config = R"({"agent_id": "a", "provider": "demo"})",
                                           .mcp = "[]",
                                           .env = {{"TOOL_EXECUTION_TIMEOUT", "soon"}}}));
    EXPECT_EQ(environment.pointer, "TOOL_EXECUTION_TIMEOUT");
}

TEST(ConfigMcpOptions, ApprovalThatNobodyCanGiveIsSaid) {
    auto const loaded =
        testing::load({.agent_config = R"({"agent_id": "a", "provider": "demo"})",
                       .mcp = R"([{"server_label": "s", "command": "c", "require_approval": "always"}])"});
    EXPECT_TRUE(testing::mentions(loaded.warnings, "the tools of \"s\" are not offered"));
}

} // namespace
} // namespace parley::agents

// Agents: what each field comes to, who is unavailable and why, and fallbacks.
#include <gtest/gtest.h>

#include "agents/config_loader.hpp"
#include "tests/unit/agents/config_fixture.hpp"

namespace parley::agents {
namespace {

using testing::good;
using testing::good_agent;
using testing::load;
using Names = std::vector<std::string>;

AgentConfig agent_with(std::string const& members, testing::Texts env = {}) {
    return good_agent(
        {.agent_config = R"([{"agent_id": "a", "provider": "demo")" + (members.empty() ? "" : ", " + members) + "}]",
         .env = std::move(env)});
}

AgentConfig const& by_id(GatewayConfig const& config, std::string_view id) {
    for (auto const& agent : config.agents) {
        if (agent.agent_id == id) return agent;
    }
    throw std::logic_error("no such agent");
}

TEST(ConfigAgents, Defaults) {
    auto const agent = agent_with("");
    EXPECT_EQ(agent.provider, "demo");
    EXPECT_EQ(agent.model, "demo");
    EXPECT_EQ(agent.limits.max_tool_rounds, 10);
    EXPECT_EQ(agent.limits.max_tool_calls, 64);
    EXPECT_EQ(agent.limits.timeout_s, 600);
    EXPECT_EQ(agent.limits.max_total_tokens, 0);
    EXPECT_EQ(agent.client_tools, ClientTools::kAuto);
    EXPECT_EQ(agent.history, HistoryMode::kAuto);
    EXPECT_EQ(agent.task_policy, TaskPolicy::kHeuristic);
    EXPECT_EQ(agent.tool_progress, ToolProgress::kAuto);
    EXPECT_FALSE(agent.allowed_regular_tools.has_value());
    EXPECT_FALSE(agent.allowed_mcp_servers.has_value());
    EXPECT_FALSE(agent.resources.has_value());
    EXPECT_TRUE(agent.compression.enabled);
    EXPECT_EQ(agent.compression.threshold_tokens, 10'000);
    EXPECT_EQ(agent.compression.recent_messages_to_keep, 10);
    EXPECT_TRUE(agent.unavailable.empty());
}

TEST(ConfigAgents, ReadsEveryField) {
    auto const agent = agent_with(
        R"("name": "N", "description": "D", "version": "2.0.1", "tags": ["x", "y"], "model": "m",
           "system_prompt": "Hello ${WHO}, not $${WHO}", "model_settings": {"temperature": 0.5, "stop": ["${WHO}"]},
           "limits": {"max_tool_rounds": 1, "max_tool_calls": 2, "timeout_s": 3, "max_total_tokens": 4},
           "client_tools": "ignore", "history": "client", "task_policy": "agent", "tool_progress": "openwebui",
           "allowed_regular_tools": ["t"], "resources": ["memory"],
           "resource_config": {"memory": {"compression": {"enabled": false, "threshold_tokens": 5,
                               "recent_messages_to_keep": 6, "archive_conversations": true}},
                               "knowledge_base": {"chunk_size": 800}},
           "embedding_model": "e")",
        {{"WHO", "you"}});
    EXPECT_EQ(agent.name, "N");
    EXPECT_EQ(agent.description, "D");
    EXPECT_EQ(agent.version, "2.0.1");
    EXPECT_EQ(agent.tags, (Names{"x", "y"}));
    EXPECT_EQ(agent.model, "m");
    EXPECT_EQ(agent.system_prompt, "Hello you, not ${WHO}");
    EXPECT_EQ(agent.model_settings.at("temperature").as_double(), 0.5);
    EXPECT_EQ(agent.model_settings.at("stop").as_array()[0].as_string(), "you");
    EXPECT_EQ(agent.limits.max_tool_rounds, 1);
    EXPECT_EQ(agent.limits.max_tool_calls, 2);
    EXPECT_EQ(agent.limits.timeout_s, 3);
    EXPECT_EQ(agent.limits.max_total_tokens, 4);
    EXPECT_EQ(agent.client_tools, ClientTools::kIgnore);
    EXPECT_EQ(agent.history, HistoryMode::kClient);
    EXPECT_EQ(agent.task_policy, TaskPolicy::kAgent);
    EXPECT_EQ(agent.tool_progress, ToolProgress::kOpenWebui);
    EXPECT_EQ(agent.allowed_regular_tools, Names{"t"});
    EXPECT_EQ(agent.resources, Names{"memory"});
    EXPECT_FALSE(agent.compression.enabled);
    EXPECT_TRUE(agent.compression.archive_conversations);
    EXPECT_EQ(agent.compression.threshold_tokens, 5);
    EXPECT_EQ(agent.compression.recent_messages_to_keep, 6);
    EXPECT_TRUE(agent.carried.contains("knowledge_base"));
    EXPECT_EQ(agent.carried.at("embedding_model").as_string(), "e");
}

TEST(ConfigAgents, NullIsAllEmptyIsNoneAListIsThose) {
    EXPECT_FALSE(agent_with(R"("allowed_regular_tools": null)").allowed_regular_tools.has_value());
    EXPECT_EQ(agent_with(R"("allowed_regular_tools": [])").allowed_regular_tools, Names{});
    EXPECT_FALSE(agent_with(R"("allowed_mcp_servers": null)").allowed_mcp_servers.has_value());
    auto const none = agent_with(R"("allowed_mcp_servers": {})").allowed_mcp_servers;
    ASSERT_TRUE(none.has_value());
    EXPECT_TRUE(none->empty());
    auto const some = agent_with(R"("allowed_mcp_servers": {"a": {"allowed_mcp_tools": null}, "b": {}, "c": null,
        "d": {"allowed_mcp_tools": []}, "e": {"allowed_mcp_tools": ["x"]}})")
                          .allowed_mcp_servers;
    ASSERT_TRUE(some.has_value());
    EXPECT_EQ(some->size(), 5U);
    EXPECT_FALSE(some->at("a").has_value());
    EXPECT_FALSE(some->at("b").has_value());
    EXPECT_FALSE(some->at("c").has_value());
    EXPECT_EQ(some->at("d"), Names{});
    EXPECT_EQ(some->at("e"), Names{"x"});
}

TEST(ConfigAgents, TheOlderFormOfServersAndTools) {
    auto const read = [](std::string const& tools) {
        return *agent_with(R"("allowed_mcp_servers": ["a", "b"])" + tools).allowed_mcp_servers;
    };
    for (std::string const all : {"", R"(, "allowed_mcp_tools": null)", R"(, "allowed_mcp_tools": {})"}) {
        auto const servers = read(all);
        EXPECT_FALSE(servers.at("a").has_value()) << all;
        EXPECT_FALSE(servers.at("b").has_value()) << all;
    }
    auto const some = read(R"(, "allowed_mcp_tools": {"a": ["x"]})");
    EXPECT_EQ(some.at("a"), Names{"x"});
    EXPECT_EQ(some.at("b"), Names{});
    EXPECT_EQ(read(R"(, "allowed_mcp_tools": [])").at("a"), Names{});
}

TEST(ConfigAgents, EnvironmentChangesDefaults) {
    testing::Texts const env{{"REQUEST_TIMEOUT", "300"}, {"MEMORY_COMPRESSION_TOKEN_THRESHOLD", "8000"}};
    EXPECT_EQ(agent_with("", env).limits.timeout_s, 300);
    EXPECT_EQ(agent_with("", env).compression.threshold_tokens, 8'000);
    EXPECT_EQ(agent_with(R"("limits": {"timeout_s": 5})", env).limits.timeout_s, 5);
    for (std::string const bad : {"0", "-1", "5s", "1.5", "99999999999999999999", " 5"}) {
        auto const loaded =
            load({.agent_config = R"([{"agent_id": "a", "provider": "demo"}])", .env = {{"REQUEST_TIMEOUT", bad}}});
        auto const fault = testing::only_fault(loaded);
        EXPECT_EQ(fault.file, "environment") << bad;
        EXPECT_EQ(fault.pointer, "REQUEST_TIMEOUT") << bad;
    }
}

TEST(ConfigAgents, ModelComesFromTheProviderWhenNotNamed) {
    auto const model = [](std::string const& config, testing::Texts env) {
        return good_agent({.agent_config = config, .env = std::move(env)}).model;
    };
    std::string const openai = R"([{"agent_id": "a", "provider": "openai"}])";
    EXPECT_EQ(model(openai, {{"OPENAI_API_KEY", "k"}, {"OPENAI_DEFAULT_MODEL", "d"}, {"OPENAI_MODEL_LIST", "l"}}), "d");
    EXPECT_EQ(model(openai, {{"OPENAI_API_KEY", "k"}, {"OPENAI_MODEL_LIST", "l,m"}}), "l");
    EXPECT_EQ(model(openai, {{"OPENAI_API_KEY", "k"}}), "gpt-4.1-mini");
    EXPECT_EQ(model(R"([{"agent_id": "a", "provider": "openai", "model": "own"}])", {{"OPENAI_API_KEY", "k"}}), "own");
    EXPECT_EQ(model(R"({"providers": {"p": {"type": "openai", "base_url": "http://h/v1", "models": ["x"]}},
                        "agents": [{"agent_id": "a", "provider": "p"}]})",
                    {}),
              "x");
}

TEST(ConfigAgents, AnUnsetVariableDisablesOnlyItsAgent) {
    auto const config = good({.agent_config = R"([
        {"agent_id": "prompt", "provider": "demo", "system_prompt": "for ${TEAM} and ${env:TEAM}"},
        {"agent_id": "model", "provider": "demo", "model": "${MODEL}"},
        {"agent_id": "provider", "provider": "${WHERE}"},
        {"agent_id": "settings", "provider": "demo", "model_settings": {"a": [{"b": "${DEEP}"}]}},
        {"agent_id": "fine", "provider": "demo", "system_prompt": "for ${TEAM:-us}"}])"});
    EXPECT_EQ(by_id(config, "prompt").unavailable, "TEAM is not set");
    EXPECT_EQ(by_id(config, "model").unavailable, "MODEL is not set");
    EXPECT_EQ(by_id(config, "provider").unavailable, "WHERE is not set");
    EXPECT_EQ(by_id(config, "settings").unavailable, "DEEP is not set");
    EXPECT_EQ(by_id(config, "fine").unavailable, "");
    for (auto const& agent : config.agents)
        EXPECT_EQ(agent.system_prompt.find("${"), std::string::npos);
}

TEST(ConfigAgents, NamesEveryVariableThatIsMissing) {
    auto const config = good({.agent_config = R"([
        {"agent_id": "a", "provider": "openai", "model": "${NOPE3}", "system_prompt": "${NOPE1} ${NOPE2}",
         "description": "${NOPE4}"},
        {"agent_id": "b", "provider": "demo", "model": "${NOPE1}", "system_prompt": "${NOPE1}"},
        {"agent_id": "c", "provider": "demo", "model": "${NOPE1}", "system_prompt": "${NOPE1}", "fallbacks": ["d"]},
        {"agent_id": "d", "provider": "demo"}])"});
    EXPECT_EQ(by_id(config, "a").unavailable,
              "NOPE3 is not set; provider \"openai\": OPENAI_API_KEY is not set; NOPE4, NOPE1 and NOPE2 are not set");
    EXPECT_EQ(by_id(config, "b").unavailable, "NOPE1 is not set");
    EXPECT_EQ(by_id(config, "c").unavailable, "NOPE1 is not set") << "no model stands in for a prompt";
}

TEST(ConfigAgents, AFallbackStandsInForTheOwnModelOnly) {
    auto const config = good({.agent_config = R"([
        {"agent_id": "a", "provider": "openai", "fallbacks": ["router", "local"]},
        {"agent_id": "b", "provider": "openai", "fallbacks": ["router"]},
        {"agent_id": "c", "provider": "openai", "fallbacks": ["local"], "system_prompt": "${TEAM}"},
        {"agent_id": "d", "provider": "openai", "fallbacks": ["a"]},
        {"agent_id": "e", "provider": "demo", "model": "${NO}", "fallbacks": ["local"]},
        {"agent_id": "router", "provider": "openrouter"},
        {"agent_id": "local", "provider": "demo"}])"});
    auto const& a = by_id(config, "a");
    EXPECT_EQ(a.own_unavailable, "provider \"openai\": OPENAI_API_KEY is not set");
    EXPECT_EQ(a.unavailable, "");
    EXPECT_EQ(a.fallbacks, (Names{"router", "local"}));
    EXPECT_EQ(by_id(config, "b").unavailable, "provider \"openai\": OPENAI_API_KEY is not set");
    EXPECT_EQ(by_id(config, "c").unavailable, "TEAM is not set");
    // The model of an agent stands in, not that agent's own fallbacks.
    EXPECT_EQ(by_id(config, "d").unavailable, "provider \"openai\": OPENAI_API_KEY is not set");
    EXPECT_EQ(by_id(config, "e").unavailable, "");
    EXPECT_EQ(by_id(config, "e").own_unavailable, "NO is not set");
}

TEST(ConfigAgents, AProviderAtFaultIsToldOnce) {
    auto const fault = testing::only_fault(load({.agent_config = R"({"providers": {"p": {"type": "opnai"}},
        "agents": [{"agent_id": "a", "provider": "p"}, {"agent_id": "b", "provider": "p"}]})"}));
    EXPECT_EQ(fault.pointer, "/providers/p/type");
}

TEST(ConfigAgents, WarnsOfWhatHasNoEffect) {
    auto const loaded = load({.agent_config = R"([{"agent_id": "a", "provider": "demo", "system_prompt": "x",
        "system_prompt_file": "p.md", "resources": ["memory", "memroy", "knowledge_base"],
        "allowed_mcp_servers": {"github": {}, "gihtub": {}}}])",
                              .mcp = R"([{"server_label": "github", "command": "c"}])",
                              .files = {{"prompts/p.md", "from the file"}}});
    ASSERT_TRUE(loaded.config.has_value());
    EXPECT_EQ(loaded.config->agents[0].system_prompt, "from the file");
    EXPECT_EQ(loaded.warnings.size(), 4U);
    EXPECT_TRUE(testing::mentions(loaded.warnings, "both system_prompt and system_prompt_file"));
    EXPECT_TRUE(
        testing::mentions(loaded.warnings, "unknown resource \"memroy\" has no effect; did you mean \"memory\"?"));
    EXPECT_TRUE(testing::mentions(loaded.warnings, "knowledge_base"));
    EXPECT_TRUE(testing::mentions(loaded.warnings, "no MCP server \"gihtub\" is configured; did you mean \"github\"?"));
}

TEST(ConfigAgents, WarnsOfRegularToolsThatAreNone) {
    auto const loaded = load({.agent_config = R"({"agent_id": "a", "provider": "demo", "allowed_regular_tools": [
        "get_curent_datetime", "get_*", "add_two_numbers", "s*", "${TOOL}"]})",
                              .env = {{"TOOL", "hunter2"}}});
    ASSERT_TRUE(loaded.config.has_value());
    ASSERT_EQ(loaded.warnings.size(), 2U);
    EXPECT_EQ(loaded.warnings[0],
              "agent \"a\": no regular tool \"get_curent_datetime\" is there; did you mean "
              "\"get_current_datetime\"?");
    EXPECT_EQ(loaded.warnings[1],
              "agent \"a\": no regular tool \"s*\" is there; there are get_current_datetime, add_two_numbers");
}

TEST(ConfigAgents, SaysWhichModelSettingsHaveNoEffect) {
    auto const loaded = load({.agent_config = R"({"agent_id": "a", "provider": "demo", "model_settings": {
        "temprature": 0.5, "stream": false, "messages": [], "model": "other", "tools": [], "stream_options": {}, "extra_body": null,
        "headers": {}, "n": 3, "min_tokens": 1, "n_predict": 5, "repetition_penalty": 1.1, "zz_special": [1],
        "stop": "a", "logit_bias": {"50256": -100}, "user": {"id": 1}, "seed": -1, "top_p": 1, "think": true}})"});
    ASSERT_TRUE(loaded.config.has_value()) << testing::report(loaded);
    EXPECT_EQ(loaded.warnings.size(), 7U);
    EXPECT_TRUE(testing::mentions(loaded.warnings, "\"temprature\" is not known here; did you mean \"temperature\"?"));
    for (std::string const name : {"stream", "messages", "model", "tools", "stream_options", "headers"})
        EXPECT_TRUE(testing::mentions(loaded.warnings, "model_settings: \"" + name + "\" has no effect: ")) << name;
}

// Other servers take more than OpenAI: -1 tokens, a temperature of 3.
TEST(ConfigAgents, WarnsOfSettingsThatOpenAiWouldNotTake) {
    std::vector<std::pair<std::string, std::string>> const rows = {
        {R"("temperature": 9)", "temperature is 9"},
        {R"("temperature": "hot")", "temperature is a string"},
        {R"("top_p": 1e1)", "top_p is 10"},
        {R"("presence_penalty": -2.5)", "presence_penalty is -2.5"},
        {R"("max_tokens": -1)", "max_tokens is -1"},
        {R"("max_completion_tokens": 0.5)", "max_completion_tokens is 0.5"},
        {R"("n": 0)", "n is 0"},
        {R"("seed": "1")", "seed is a string"},
        {R"("top_logprobs": 21)", "top_logprobs is 21"},
        {R"("logprobs": 1)", "logprobs is a number"},
        {R"("stop": 1)", "stop is a number"},
        {R"("metadata": [])", "metadata is an array"},
        {R"("reasoning_effort": "hgh")", "reasoning_effort is \"hgh\""},
        {R"("user": 1)", "user is a number"},
        {R"("modalities": "text")", "modalities is a string"},
        {R"("logit_bias": {"1": 101})", "logit_bias/1 is 101"},
    };
    for (auto const& [setting, told] : rows) {
        auto const loaded =
            load({.agent_config = R"({"agent_id": "a", "provider": "demo", "model_settings": {)" + setting + "}}"});
        ASSERT_TRUE(loaded.config.has_value()) << testing::report(loaded);
        ASSERT_EQ(loaded.warnings.size(), 1U) << setting;
        EXPECT_TRUE(testing::mentions(loaded.warnings, "agent \"a\": model_settings: " + told + ", and OpenAI takes "))
            << loaded.warnings[0];
    }
}

TEST(ConfigAgents, AVariableThatIsMissingIsNoWrongSetting) {
    auto const loaded = load({.agent_config = R"({"agent_id": "a", "provider": "demo", "model_settings": {
        "reasoning_effort": "${EFFORT}", "service_tier": "${TIER}"}})"});
    ASSERT_TRUE(loaded.config.has_value()) << testing::report(loaded);
    EXPECT_EQ(loaded.config->agents[0].unavailable, "EFFORT and TIER are not set");
}

TEST(ConfigAgents, IdsMayHoldSlashesColonsAndAts) {
    EXPECT_EQ(good_agent({.agent_config = R"({"agent_id": "team/coder:v2@eu", "provider": "demo"})"}).agent_id,
              "team/coder:v2@eu");
    for (std::string const& id :
         std::vector<std::string>{"a b", "a\\tb", "a\\u0000", "\\u00e4", "a\\\"b", "a\\\\b", std::string(129, 'x')}) {
        auto const fault =
            testing::only_fault(load({.agent_config = R"({"agent_id": ")" + id + R"(", "provider": "demo"})"}));
        EXPECT_EQ(fault.pointer, "/agent_id") << id;
    }
}

} // namespace
} // namespace parley::agents

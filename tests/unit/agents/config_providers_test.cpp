// Providers: entries of the file, default instances from the environment, and why one is unavailable.
#include <gtest/gtest.h>

#include "agents/config_loader.hpp"
#include "tests/unit/agents/config_fixture.hpp"

namespace parley::agents {
namespace {

using testing::good;
using testing::load;
using testing::Texts;

/// The default instance of `type`, from `env`.
ProviderConfig from_environment(std::string const& type, Texts env) {
    auto const config =
        good({.agent_config = R"([{"agent_id": "a", "provider": ")" + type + "\"}]", .env = std::move(env)});
    return testing::provider(config, type);
}

/// The provider "p" with `members`, used by an agent.
testing::Given entry(std::string const& members, Texts env = {}) {
    return {.agent_config = R"({"providers": {"p": {)" + members +
                            R"(}}, "agents": [{"agent_id": "a", "provider": "p", "model": "m"}]})",
            .env = std::move(env)};
}

ProviderConfig good_entry(std::string const& members, Texts env = {}) {
    return testing::provider(good(entry(members, std::move(env))), "p");
}

TEST(ConfigProviders, DefaultsOfEachType) {
    auto const openai = from_environment("openai", {{"OPENAI_API_KEY", "k"}});
    EXPECT_EQ(openai.base_url, "https://api.openai.com/v1");
    EXPECT_EQ(openai.api_key.reveal(), "k");
    EXPECT_EQ(openai.type, "openai");
    EXPECT_TRUE(openai.unavailable.empty());

    auto const router = from_environment("openrouter", {{"OPENROUTER_API_KEY", "k"}});
    EXPECT_EQ(router.base_url, "https://openrouter.ai/api/v1");
    EXPECT_EQ(router.default_model, "openrouter/auto");

    auto const ollama = from_environment("ollama", {});
    EXPECT_EQ(ollama.base_url, "http://127.0.0.1:11434");
    EXPECT_EQ(ollama.default_model, "qwen3:4b");
    EXPECT_GT(ollama.timeouts.first_byte, openai.timeouts.first_byte);
    EXPECT_TRUE(ollama.unavailable.empty());

    auto const demo = from_environment("demo", {});
    EXPECT_TRUE(demo.unavailable.empty());
    EXPECT_EQ(demo.default_model, "demo");
}

TEST(ConfigProviders, ReadsEveryVariableOfTheOriginal) {
    Texts const azure{{"AZURE_OPENAI_BASE_URL", "https://r.openai.azure.com/"},
                      {"AZURE_OPENAI_API_KEY", "k"},
                      {"AZURE_OPENAI_API_VERSION", "2025-03-01-preview"},
                      {"AZURE_OPENAI_DEFAULT_MODEL", "deploy"},
                      {"AZURE_OPENAI_MODEL_LIST", "deploy|gpt-4o-mini, third,"}};
    for (std::string const type : {"azure_openai", "azure_openai_cc"}) {
        auto const provider = from_environment(type, azure);
        EXPECT_EQ(provider.base_url, "https://r.openai.azure.com");
        EXPECT_EQ(provider.api_key.reveal(), "k");
        EXPECT_EQ(provider.api_version, "2025-03-01-preview");
        EXPECT_EQ(provider.default_model, "deploy");
        EXPECT_EQ(provider.models, (std::vector<std::string>{"deploy", "gpt-4o-mini", "third"}));
    }
    auto const router = from_environment("openrouter", {{"OPENROUTER_BASE_URL", "https://or.example/api/v1"},
                                                        {"OPENROUTER_API_KEY", "k"},
                                                        {"OPENROUTER_DEFAULT_MODEL", "x/y"},
                                                        {"OPENROUTER_MODEL_LIST", "x/y"}});
    EXPECT_EQ(router.base_url, "https://or.example/api/v1");
    EXPECT_EQ(router.default_model, "x/y");
    auto const ollama =
        from_environment("ollama", {{"OLLAMA_BASE_URL", "http://box:11434/v1/"}, {"OLLAMA_DEFAULT_MODEL", "m"}});
    EXPECT_EQ(ollama.base_url, "http://box:11434");
    EXPECT_EQ(ollama.default_model, "m");
    auto const openai = from_environment(
        "openai", {{"OPENAI_BASE_URL", "http://127.0.0.1:8080/v1/"}, {"OPENAI_DEFAULT_MODEL", "local"}});
    EXPECT_EQ(openai.base_url, "http://127.0.0.1:8080/v1");
    EXPECT_TRUE(openai.unavailable.empty()); // a server of one's own may want no key
    EXPECT_EQ(from_environment("azure_openai_cc", {{"AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com/openai/"},
                                                   {"AZURE_OPENAI_API_KEY", "k"}})
                  .base_url,
              "https://r.openai.azure.com");
}

TEST(ConfigProviders, SaysWhichVariableIsMissing) {
    EXPECT_EQ(from_environment("openai", {}).unavailable, "OPENAI_API_KEY is not set");
    EXPECT_EQ(from_environment("openai", {{"OPENAI_API_KEY", ""}}).unavailable, "OPENAI_API_KEY is not set");
    EXPECT_EQ(from_environment("openrouter", {}).unavailable, "OPENROUTER_API_KEY is not set");
    EXPECT_EQ(from_environment("azure_openai", {}).unavailable,
              "AZURE_OPENAI_BASE_URL and AZURE_OPENAI_API_KEY are not set");
    EXPECT_EQ(from_environment("azure_openai_cc", {{"AZURE_OPENAI_API_KEY", "k"}}).unavailable,
              "AZURE_OPENAI_BASE_URL is not set");
    EXPECT_EQ(from_environment("ollama", {{"OLLAMA_BASE_URL", "box:11434"}}).unavailable,
              "OLLAMA_BASE_URL is not an http:// or https:// URL");
    EXPECT_EQ(good_entry(R"("type": "openai", "api_key": "${A}", "headers": {"X": "${B}"})").unavailable,
              "A and B are not set");
    EXPECT_EQ(good_entry(R"("type": "${KIND}")").unavailable, "KIND is not set");
    EXPECT_EQ(good_entry(R"("type": "openai", "base_url": "${U}")").unavailable, "U is not set");
}

TEST(ConfigProviders, AzureTakesEntraFromTheEnvironment) {
    Texts env{{"AZURE_OPENAI_BASE_URL", "https://r.openai.azure.com"},
              {"AZURE_TENANT_ID", "t"},
              {"AZURE_CLIENT_ID", "c"},
              {"AZURE_CLIENT_SECRET", "s"}};
    auto const provider = from_environment("azure_openai", env);
    EXPECT_TRUE(provider.unavailable.empty()) << provider.unavailable;
    ASSERT_TRUE(provider.entra.has_value());
    EXPECT_EQ(provider.entra->client_secret.reveal(), "s");
    EXPECT_EQ(provider.entra->token_url, "https://login.microsoftonline.com/t/oauth2/v2.0/token");
    env["AZURE_OPENAI_API_KEY"] = "k";
    EXPECT_FALSE(from_environment("azure_openai", env).entra.has_value()); // a key is simpler and wins

    auto const partial = good_entry(R"("type": "azure_openai", "base_url": "https://h", "entra": {"tenant_id": "t"})",
                                    {{"AZURE_CLIENT_ID", "c"}});
    EXPECT_EQ(partial.unavailable, "AZURE_CLIENT_SECRET is not set");
}

TEST(ConfigProviders, AKeyOfTheEnvironmentNeverGoesToAnotherServer) {
    Texts const env{{"OPENAI_API_KEY", "k"},           {"OPENROUTER_API_KEY", "k"}, {"AZURE_OPENAI_API_KEY", "k"},
                    {"AZURE_TENANT_ID", "t"},          {"AZURE_CLIENT_ID", "c"},    {"AZURE_CLIENT_SECRET", "s"},
                    {"OPENAI_DEFAULT_MODEL", "theirs"}};
    auto const local = good_entry(R"("type": "openai", "base_url": "http://elsewhere:1/v1")", env);
    EXPECT_TRUE(local.api_key.empty());
    EXPECT_TRUE(local.default_model.empty());
    EXPECT_TRUE(local.unavailable.empty());
    auto const router = good_entry(R"("type": "openrouter", "base_url": "https://elsewhere/v1")", env);
    EXPECT_TRUE(router.api_key.empty());
    EXPECT_EQ(router.unavailable, "api_key is missing or empty");
    auto const azure = good_entry(R"("type": "azure_openai", "base_url": "https://elsewhere")", env);
    EXPECT_TRUE(azure.api_key.empty());
    EXPECT_FALSE(azure.entra.has_value());
    EXPECT_FALSE(azure.unavailable.empty());
    // Without a server of its own, an entry is the usual one under another name.
    EXPECT_EQ(good_entry(R"("type": "openai")", env).api_key.reveal(), "k");
    EXPECT_EQ(good_entry(R"("type": "openai", "api_key": "own")", env).api_key.reveal(), "own");
}

TEST(ConfigProviders, EndpointsHaveFromTheProviderWhatTheyLeaveOpen) {
    auto const p = good_entry(
        R"("type": "openai", "base_url": "https://one/v1/", "api_key": "shared", "max_retries": 5, "endpoints": [
             {}, {"api_key": "${K}", "weight": 3}, {"base_url": "https://two/v1/"}])",
        {{"K", "own"}});
    ASSERT_EQ(p.endpoints.size(), 3U);
    EXPECT_EQ(p.endpoints[0].base_url, "https://one/v1");
    EXPECT_EQ(p.endpoints[0].api_key.reveal(), "shared");
    EXPECT_EQ(p.endpoints[1].api_key.reveal(), "own");
    EXPECT_EQ(p.endpoints[1].weight, 3);
    EXPECT_EQ(p.endpoints[2].base_url, "https://two/v1");
    EXPECT_EQ(p.endpoints[2].api_key.reveal(), "shared") << "written beside it";
    EXPECT_EQ(p.max_retries, 5);
}

TEST(ConfigProviders, AKeyOfTheEnvironmentDoesNotGoToAnotherAddress) {
    auto const p = good_entry(R"("type": "openai", "endpoints": [{"base_url": "https://two/v1"}])",
                              {{"OPENAI_API_KEY", "secret"}});
    ASSERT_EQ(p.endpoints.size(), 1U);
    EXPECT_TRUE(p.endpoints[0].api_key.empty());
    EXPECT_TRUE(p.api_key.empty());
}

TEST(ConfigProviders, ReadsAWholeEntry) {
    auto const p = good_entry(
        R"("type": "openai", "base_url": "https://h:8443/v1/", "api_key": "${K}", "headers": {"X-Team": "t-${K}"},
           "timeouts": {"connect_ms": 250, "first_byte_ms": 9000, "idle_ms": 8000, "total_ms": 7000}, "max_connections": 3,
           "models": ["one", "two"], "options": {"pace": "${PACE:-slow}", "deep": [{"n": 1}]})",
        {{"K", "key"}});
    EXPECT_EQ(p.base_url, "https://h:8443/v1");
    EXPECT_EQ(p.api_key.reveal(), "key");
    ASSERT_EQ(p.headers.size(), 1U);
    EXPECT_EQ(p.headers[0].first, "X-Team");
    EXPECT_EQ(p.headers[0].second.reveal(), "t-key");
    EXPECT_EQ(p.timeouts.connect.count(), 250);
    EXPECT_EQ(p.timeouts.first_byte.count(), 9'000);
    EXPECT_EQ(p.timeouts.idle.count(), 8'000);
    EXPECT_EQ(p.timeouts.total.count(), 7'000);
    EXPECT_EQ(p.max_connections, 3U);
    EXPECT_EQ(p.default_model, "one");
    EXPECT_EQ(p.options.at("pace").as_string(), "slow");
}

TEST(ConfigProviders, AnEntryNamedLikeATypeReplacesIt) {
    auto const config = good({.agent_config = R"({"providers": {"ollama": {"base_url": "http://gpu:1"}},
                                "agents": [{"agent_id": "a", "provider": "ollama", "model": "m"}]})",
                              .env = {{"OLLAMA_BASE_URL", "http://other:2"}}});
    ASSERT_EQ(config.providers.size(), 1U);
    EXPECT_EQ(config.providers[0].base_url, "http://gpu:1");
    EXPECT_EQ(config.providers[0].type, "ollama");
    EXPECT_EQ(config.providers[0].timeouts.first_byte.count(), 600'000);
}

TEST(ConfigProviders, OnlyWhatIsUsedIsBuiltFromTheEnvironment) {
    auto const config = good({.agent_config = R"([{"agent_id": "a", "provider": "demo"},
                                                  {"agent_id": "b", "provider": "demo"}])"});
    ASSERT_EQ(config.providers.size(), 1U);
    EXPECT_EQ(config.providers[0].name, "demo");
}

TEST(ConfigProviders, WarnsOfWhatIsLikelyWrong) {
    auto const old = load(entry(R"("type": "azure_openai", "base_url": "https://h", "api_key": "k",
                                   "api_version": "2024-02-15-preview")"));
    EXPECT_TRUE(testing::mentions(old.warnings, "azure_openai_cc"));
    auto const v1 = load(entry(R"("type": "azure_openai", "base_url": "https://h/openai/v1", "api_key": "k",
                                  "api_version": "2024-02-15-preview")"));
    EXPECT_TRUE(v1.warnings.empty());
    auto const plain = load(entry(R"("type": "openai", "base_url": "http://h.example/v1", "api_key": "k")"));
    EXPECT_TRUE(testing::mentions(plain.warnings, "unencrypted"));
    for (std::string const url : {"HTTP://h.example/v1", "Http://H/v1"}) {
        EXPECT_TRUE(testing::mentions(
            load(entry(R"("type": "openai", "api_key": "k", "base_url": ")" + url + "\"")).warnings, "unencrypted"))
            << url;
    }
    auto const second = load(entry(R"("type": "openai", "base_url": "https://h/v1", "endpoints": [
        {}, {"base_url": "http://h.example/v1", "api_key": "k"}])"));
    EXPECT_TRUE(testing::mentions(second.warnings, "unencrypted"));
    for (std::string const route : {"/chat/completions", "/responses", "/embeddings/"}) {
        auto const whole = load(entry(R"("type": "openai", "base_url": "https://h/v1)" + route + "\""));
        EXPECT_TRUE(testing::mentions(whole.warnings, "base_url ends in " + route.substr(0, 10))) << route;
        EXPECT_TRUE(testing::mentions(whole.warnings, "it should end before that")) << route;
    }
    for (std::string const host : {"localhost", "LocalHost", "127.0.0.1:8080", "[::1]:8080"}) {
        EXPECT_TRUE(
            load(entry(R"("type": "openai", "api_key": "k", "base_url": "http://)" + host + "/v1\"")).warnings.empty())
            << host;
    }
}

TEST(ConfigProviders, AMountedKeyLosesItsLineEnd) {
    EXPECT_EQ(from_environment("openai", {{"OPENAI_API_KEY", " sk-abc\r\n"}}).api_key.reveal(), "sk-abc");
    EXPECT_EQ(from_environment("openai", {{"OPENAI_API_KEY", " \n"}}).unavailable, "OPENAI_API_KEY is not set");
    EXPECT_EQ(
        from_environment("azure_openai", {{"AZURE_OPENAI_BASE_URL", "https://h\n"}, {"AZURE_OPENAI_API_KEY", "k\n"}})
            .api_key.reveal(),
        "k");
    auto const azure = good_entry(
        R"("type": "azure_openai", "base_url": "https://h", "entra": {"tenant_id": "${T}", "client_id": "c\n", "client_secret": "${S}"})",
        {{"T", "t\n"}, {"S", "\ts\n"}});
    EXPECT_EQ(azure.entra->token_url, "https://login.microsoftonline.com/t/oauth2/v2.0/token");
    EXPECT_EQ(azure.entra->client_id, "c");
    EXPECT_EQ(azure.entra->client_secret.reveal(), "s");
    auto const p = good_entry(
        R"("type": "openai", "base_url": "https://h/v1", "api_key": "${K}", "headers": {"X-Key": "${K}"},
           "endpoints": [{}, {"api_key": " k2 "}, {"api_key": "\n"}])",
        {{"K", "k\n"}});
    EXPECT_EQ(p.api_key.reveal(), "k");
    EXPECT_EQ(p.headers[0].second.reveal(), "k");
    EXPECT_EQ(p.endpoints[0].api_key.reveal(), "k");
    EXPECT_EQ(p.endpoints[1].api_key.reveal(), "k2");
    EXPECT_EQ(p.endpoints[2].api_key.reveal(), "") << "as \"\" is: none is sent";
}

TEST(ConfigProviders, AKeyOfTwoLinesIsAFaultThatDoesNotQuoteIt) {
    std::string const base = R"("type": "azure_openai", "base_url": "https://h", )";
    for (auto const& [members, pointer] : std::vector<std::pair<std::string, std::string>>{
             {R"("api_key": "${K}")", "/providers/p/api_key"},
             {R"("api_key": "a\u0000hunter2")", "/providers/p/api_key"},
             {R"("api_key": "k", "endpoints": [{"api_key": "${K}"}])", "/providers/p/endpoints/0/api_key"},
             {R"("api_key": "k", "headers": {"X": "${K}"})", "/providers/p/headers/X"},
             {R"("entra": {"tenant_id": "t", "client_id": "c", "client_secret": "${K}"})",
              "/providers/p/entra/client_secret"}}) {
        auto const fault = testing::only_fault(load(entry(base + members, {{"K", "hunter2\r\nX-Evil: 1"}})));
        EXPECT_EQ(fault.pointer, pointer);
        EXPECT_EQ(fault.found, "a value with a line end or control character in it");
        EXPECT_EQ(to_text(fault).find("hunter2"), std::string::npos);
    }
    auto const openai = from_environment("openai", {{"OPENAI_API_KEY", "hunter2\nX-Evil: 1"}});
    EXPECT_EQ(openai.unavailable, "OPENAI_API_KEY has a line end or control character in it");
    EXPECT_TRUE(openai.api_key.empty());
}

TEST(ConfigProviders, AConfiguredHeaderStandsForTheKey) {
    auto const both = load(entry(
        R"("type": "openai", "base_url": "https://h/v1", "api_key": "k", "headers": {"AUTHORIZATION": "Basic x"})"));
    EXPECT_TRUE(testing::mentions(both.warnings, "api_key is not sent, because headers has authorization"));
    auto const azure = load(
        entry(R"("type": "azure_openai_cc", "base_url": "https://h", "api_key": "k", "headers": {"Api-Key": "x"})"));
    EXPECT_TRUE(testing::mentions(azure.warnings, "api_key is not sent, because headers has api-key"));
    auto const alone = load(entry(R"("type": "openrouter", "headers": {"Authorization": "Bearer x"})"));
    EXPECT_TRUE(alone.warnings.empty());
    EXPECT_EQ(testing::provider(*alone.config, "p").unavailable, "");
    auto const twice = testing::only_fault(
        load(entry(R"("type": "openai", "base_url": "https://h/v1", "headers": {"X-A": "1", "x-a": "2"})")));
    EXPECT_EQ(twice.pointer, "/providers/p/headers/x-a");
}

TEST(ConfigProviders, RefusesUrlsThatAreNone) {
    for (std::string const url :
         {"", "h", "//h", "http://", "http:///v1", "http://h:0/", "http://h:99999/", "http://h:x", "http://a b",
          "ws://h", "http://h#x", "http://h/?", "http://u@h", "http://h\\n"}) {
        auto const fault = testing::only_fault(load(entry(R"("type": "openai", "base_url": ")" + url + "\"")));
        EXPECT_EQ(fault.pointer, "/providers/p/base_url") << url;
    }
    for (std::string const url :
         {"http://h", "HTTPS://h", "http://[::1]:1/v1", "http://h:65535/a/b/", "http://h_x.y"}) {
        EXPECT_TRUE(load(entry(R"("type": "openai", "base_url": ")" + url + "\"")).config.has_value()) << url;
    }
}

} // namespace
} // namespace parley::agents

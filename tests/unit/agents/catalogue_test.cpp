// The snapshot that all loops share: who answers for whom, and what a reload keeps.
#include "agents/catalogue.hpp"

#include <gtest/gtest.h>

namespace parley::agents {
namespace {

ProviderConfig provider(std::string name, std::string type = "demo", std::string unavailable = {}) {
    ProviderConfig config;
    config.name = std::move(name);
    config.type = std::move(type);
    config.base_url = config.type == "demo" ? "" : "http://127.0.0.1:1/v1";
    config.unavailable = std::move(unavailable);
    return config;
}

AgentConfig agent(std::string id, std::string of, std::vector<std::string> fallbacks = {}) {
    AgentConfig config;
    config.agent_id = std::move(id);
    config.provider = std::move(of);
    config.model = "model-of-" + config.agent_id;
    config.fallbacks = std::move(fallbacks);
    return config;
}

GatewayConfig config() {
    GatewayConfig made;
    made.providers = {provider("here"), provider("there", "openai"), provider("gone", "openai", "THE_KEY is not set")};
    made.agents = {agent("a", "here", {"b", "c"}), agent("b", "there"), agent("c", "gone"), agent("d", "gone", {"b"})};
    made.agents[2].own_unavailable = made.agents[3].own_unavailable = "provider \"gone\": THE_KEY is not set";
    return made;
}

TEST(Catalogue, OrdersItsOwnModelBeforeTheFallbacks) {
    auto const catalogue = Catalogue::build(config(), nullptr, 0);
    auto const* const a = catalogue->find("a");
    ASSERT_NE(a, nullptr);
    ASSERT_EQ(a->candidates.size(), 2U) << "c cannot stand in: its provider has no key";
    EXPECT_EQ(a->candidates[0].model_name, "model-of-a");
    EXPECT_EQ(a->candidates[1].agent_id, "b");
}

TEST(Catalogue, SaysWhyNobodyCanAnswer) {
    auto const catalogue = Catalogue::build(config(), nullptr, 0);
    EXPECT_TRUE(catalogue->find("c")->candidates.empty());
    EXPECT_NE(catalogue->find("c")->unavailable.find("THE_KEY"), std::string::npos);
    EXPECT_TRUE(catalogue->find("d")->unavailable.empty()) << "its fallback can";
    EXPECT_EQ(catalogue->find("d")->candidates.front().agent_id, "b");
    EXPECT_EQ(catalogue->find("nobody"), nullptr);
}

TEST(Catalogue, NobodyAnswersWithoutThePrompt) {
    auto given = config();
    given.agents[0].unavailable = "TEAM is not set";
    auto const catalogue = Catalogue::build(given, nullptr, 0);
    EXPECT_EQ(catalogue->find("a")->unavailable, "TEAM is not set");
    EXPECT_TRUE(catalogue->find("a")->candidates.empty());
}

TEST(Catalogue, AKeyThatWouldEndTheHeadIsNeverSent) {
    auto given = config();
    given.providers[1].api_key = core::Secret("k\r\nX-Evil: 1");
    EXPECT_EQ(Catalogue::build(given, nullptr, 0)->providers()[1].provider, nullptr);
    given.providers[1].api_key = core::Secret("k");
    given.providers[1].headers = {{"X-A", core::Secret("1\n2")}};
    EXPECT_EQ(Catalogue::build(given, nullptr, 0)->providers()[1].provider, nullptr);
    given.providers[1].headers = {{"X-A", core::Secret("1")}};
    EXPECT_NE(Catalogue::build(given, nullptr, 0)->providers()[1].provider, nullptr);
}

TEST(Catalogue, TakesOverProvidersThatDidNotChange) {
    auto const first = Catalogue::build(config(), nullptr, 0);
    auto changed = config();
    changed.providers[0].name = "here"; // as before
    changed.providers[1].base_url = "http://127.0.0.1:2/v1";
    changed.agents[0].system_prompt = "new";
    auto const second = Catalogue::build(std::move(changed), first.get(), 0);
    EXPECT_EQ(first->providers()[0].provider, second->providers()[0].provider) << "its connections stay warm";
    EXPECT_NE(first->providers()[1].provider, second->providers()[1].provider);
}

TEST(Catalogue, ANewKeyIsANewProvider) {
    auto before = config();
    before.providers[1].api_key = core::Secret("old");
    auto const first = Catalogue::build(before, nullptr, 0);
    before.providers[1].api_key = core::Secret("new");
    auto const second = Catalogue::build(before, first.get(), 0);
    EXPECT_NE(first->providers()[1].provider, second->providers()[1].provider);
}

TEST(Catalogue, FindsWhereEmbeddingsGo) {
    auto given = config();
    given.providers[1].models = {"embed-small"};
    given.providers[2].models = {"embed-large"};
    auto const catalogue = Catalogue::build(given, nullptr, 0);
    EXPECT_EQ(catalogue->embedding_target("b")->model, "model-of-b");
    EXPECT_EQ(catalogue->embedding_target("embed-small")->model, "embed-small");
    EXPECT_EQ(catalogue->embedding_target("embed-large").error().code, core::Errc::kAgentUnavailable);
    EXPECT_EQ(catalogue->embedding_target("nothing").error().code, core::Errc::kModelNotFound);
}

} // namespace
} // namespace parley::agents

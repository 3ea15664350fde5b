// The published JSON Schemas say the same as the loader: about the shipped files and about every sample.
#include <boost/json.hpp>
#include <gtest/gtest.h>
#include <valijson/adapters/boost_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

#include <string>

#include "agents/config_json.hpp"
#include "agents/config_loader.hpp"
#include "core/dotenv.hpp"
#include "tests/unit/agents/config_fixture.hpp"
#include "tests/unit/agents/config_samples.hpp"

namespace parley::agents {
namespace {

namespace json = boost::json;
using Adapter = valijson::adapters::BoostJsonAdapter;

std::string const kRoot = PARLEY_SOURCE_DIR;

json::value parsed(std::string_view text) {
    auto outcome = parse_config_json(text, JsonStyle::kRelaxed);
    EXPECT_TRUE(outcome.value.has_value()) << text;
    return outcome.value.value_or(nullptr);
}

json::value file(std::string const& path) {
    auto const text = disk_reader()(kRoot + "/" + path);
    EXPECT_TRUE(text.has_value()) << path;
    return parsed(text ? *text : "null");
}

class Schema {
public:
    explicit Schema(std::string const& path) : document_(file(path)) {
        valijson::SchemaParser parser;
        parser.populateSchema(Adapter(document_), schema_);
    }

    bool accepts(json::value const& value) {
        valijson::Validator validator;
        return validator.validate(schema_, Adapter(value), nullptr);
    }

private:
    json::value document_;
    valijson::Schema schema_;
};

TEST(ConfigSchema, AcceptsTheShippedFiles) {
    EXPECT_TRUE(Schema("docs/schema/agent_config.schema.json").accepts(file("agent_config.json")));
    EXPECT_TRUE(Schema("docs/schema/mcp.schema.json").accepts(file("mcp.json")));
}

TEST(ConfigSchema, AgreesWithTheLoaderAboutAgents) {
    Schema schema("docs/schema/agent_config.schema.json");
    for (auto const& sample : testing::kValidAgentConfigs)
        EXPECT_TRUE(schema.accepts(parsed(sample.json))) << sample.name;
    for (auto const& sample : testing::kInvalidAgentConfigs) {
        EXPECT_EQ(schema.accepts(parsed(sample.json)), !sample.schema_sees_it) << sample.name;
    }
}

TEST(ConfigSchema, AgreesWithTheLoaderAboutMcpServers) {
    Schema schema("docs/schema/mcp.schema.json");
    for (auto const& sample : testing::kValidMcpConfigs)
        EXPECT_TRUE(schema.accepts(parsed(sample.json))) << sample.name;
    for (auto const& sample : testing::kInvalidMcpConfigs) {
        EXPECT_EQ(schema.accepts(parsed(sample.json)), !sample.schema_sees_it) << sample.name;
    }
}

// Whoever reads the schema in an editor is told what each field is for.
void expect_descriptions(json::value const& value, std::string const& where) {
    if (auto const* array = value.if_array()) {
        for (auto const& element : *array)
            expect_descriptions(element, where);
    }
    auto const* object = value.if_object();
    if (object == nullptr) return;
    for (auto const& member : *object)
        expect_descriptions(member.value(), where + "/" + std::string(member.key()));
    auto const* properties = object->if_contains("properties");
    if (properties == nullptr || !object->contains("additionalProperties")) return;
    for (auto const& property : properties->as_object()) {
        bool const told = property.key().starts_with('$') || property.value().as_object().contains("description") ||
                          property.value().as_object().contains("$ref");
        EXPECT_TRUE(told || property.key() == "inputs") << where << "/" << property.key();
    }
}

TEST(ConfigSchema, DescribesEveryField) {
    expect_descriptions(file("docs/schema/agent_config.schema.json"), "");
    expect_descriptions(file("docs/schema/mcp.schema.json"), "");
}

GatewayConfig shipped(testing::Texts env) {
    ConfigSources sources;
    sources.agent_config_path = kRoot + "/agent_config.json";
    sources.mcp_path = kRoot + "/mcp.json";
    sources.prompts_dir = kRoot + "/prompts";
    sources.mcp_required = true;
    sources.env = [env = std::move(env)](std::string_view name) -> std::optional<std::string> {
        auto const entry = env.find(name);
        return entry == env.end() ? std::nullopt : std::optional(entry->second);
    };
    auto const loaded = load_config(sources);
    EXPECT_TRUE(loaded.config.has_value()) << testing::report(loaded);
    EXPECT_TRUE(loaded.warnings.empty()) << loaded.warnings.front();
    return loaded.config.value_or(GatewayConfig{});
}

std::vector<std::string> available(GatewayConfig const& config) {
    std::vector<std::string> out;
    for (auto const& agent : config.agents) {
        if (agent.unavailable.empty()) out.push_back(agent.agent_id);
    }
    return out;
}

TEST(ShippedConfig, WithoutKeysOnlyTheDemoAnswersAndTheOthersSayWhy) {
    auto const config = shipped({});
    EXPECT_EQ(available(config), std::vector<std::string>{"demo"});
    EXPECT_EQ(config.agents[1].unavailable, "provider \"openai\": OPENAI_API_KEY is not set");
    EXPECT_EQ(config.agents.back().unavailable, "provider \"ollama\": OLLAMA_BASE_URL is not set");
}

TEST(ShippedConfig, TheEnvExampleIsReadableAndHoldsNoValues) {
    auto const text = disk_reader()(kRoot + "/.env.example");
    ASSERT_TRUE(text.has_value());
    auto const file = core::parse_dotenv(*text);
    EXPECT_TRUE(file.faults.empty());
    EXPECT_FALSE(file.entries.empty());
    testing::Texts env;
    for (auto const& entry : file.entries)
        env[entry.name] = entry.value;
    EXPECT_EQ(available(shipped(env)), std::vector<std::string>{"demo"});
    // With every comment sign before a NAME= taken away it must still be readable.
    std::string uncommented = *text;
    for (auto at = uncommented.find("\n#"); at != std::string::npos; at = uncommented.find("\n#", at + 1)) {
        if (at + 2 < uncommented.size() && uncommented[at + 2] != ' ') uncommented.erase(at + 1, 1);
    }
    auto const all = core::parse_dotenv(uncommented);
    EXPECT_TRUE(all.faults.empty());
    EXPECT_GT(all.entries.size(), file.entries.size() + 10);
}

TEST(ShippedConfig, OneKeyBringsAllUsefulAgentsToLife) {
    using Names = std::vector<std::string>;
    EXPECT_EQ(available(shipped({{"OPENAI_API_KEY", "k"}})),
              (Names{"demo", "assistant", "coder", "researcher", "openai"}));
    EXPECT_EQ(available(shipped({{"OPENROUTER_API_KEY", "k"}})),
              (Names{"demo", "assistant", "coder", "researcher", "openrouter"}));
    EXPECT_EQ(
        available(shipped({{"AZURE_OPENAI_API_KEY", "k"}, {"AZURE_OPENAI_BASE_URL", "https://r.openai.azure.com/"}})),
        (Names{"demo", "assistant", "coder", "researcher", "azure"}));
    EXPECT_EQ(available(shipped({{"OLLAMA_BASE_URL", "http://localhost:11434"}})),
              (Names{"demo", "assistant", "coder", "researcher", "ollama"}));
}

} // namespace
} // namespace parley::agents

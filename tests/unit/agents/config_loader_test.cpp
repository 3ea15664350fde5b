// Loading as a whole: every sample, the files and their hashes, prompts, and that all faults come in one report.
#include "agents/config_loader.hpp"

#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/hash.hpp"
#include "tests/unit/agents/config_fixture.hpp"
#include "tests/unit/agents/config_samples.hpp"

namespace parley::agents {
namespace {

using testing::Given;
using testing::load;

std::string const kOneAgent = R"([{"agent_id": "a", "provider": "demo"}])";

TEST(ConfigLoader, TakesEveryValidSample) {
    for (auto const& sample : testing::kValidAgentConfigs) {
        auto const loaded = load({.agent_config = std::string(sample.json), .files = {{"prompts/cli_agent.txt", "p"}}});
        EXPECT_TRUE(loaded.config.has_value()) << sample.name << "\n" << testing::report(loaded);
    }
    for (auto const& sample : testing::kValidMcpConfigs) {
        auto const loaded = load({.agent_config = kOneAgent, .mcp = std::string(sample.json)});
        EXPECT_TRUE(loaded.config.has_value()) << sample.name << "\n" << testing::report(loaded);
    }
}

void expect_one_fault(testing::Invalid const& sample, LoadedConfig const& loaded, std::string_view file) {
    SCOPED_TRACE(sample.name);
    EXPECT_FALSE(loaded.config.has_value());
    ASSERT_EQ(loaded.faults.size(), 1U) << testing::report(loaded);
    auto const& fault = loaded.faults.front();
    EXPECT_EQ(fault.file, file);
    EXPECT_EQ(fault.pointer, sample.pointer);
    EXPECT_NE(fault.found.find(sample.found), std::string::npos) << fault.found;
    EXPECT_NE(fault.hint.find(sample.hint), std::string::npos) << fault.hint;
    EXPECT_FALSE(fault.allowed.empty());
    // The whole file needs no line; everything else has one.
    EXPECT_EQ(fault.line > 0, !fault.pointer.empty());
}

TEST(ConfigLoader, FindsExactlyTheOneFaultOfEachInvalidSample) {
    for (auto const& sample : testing::kInvalidAgentConfigs) {
        expect_one_fault(sample, load({.agent_config = std::string(sample.json)}), "agents.json");
    }
    for (auto const& sample : testing::kInvalidMcpConfigs) {
        expect_one_fault(sample, load({.agent_config = kOneAgent, .mcp = std::string(sample.json)}), "mcp.json");
    }
}

TEST(ConfigLoader, ReportsAllFaultsOfAllFilesAtOnce) {
    auto const loaded = load({.agent_config = R"({"providers": {"p": {"type": "opnai"}},
  "agents": [
    {"agent_id": "a", "provider": "p", "tags": 1},
    {"agent_id": "a", "provider": "nobody", "history": "x",
     "system_prompt_file": "none.md"}
  ]})",
                              .mcp = "[{\"server_label\": \"s\"},\n 5]",
                              .env = {{"REQUEST_TIMEOUT", "soon"}}});
    std::vector<std::string> places;
    for (auto const& fault : loaded.faults) {
        places.push_back(fault.file + ":" + std::to_string(fault.line) + fault.pointer);
    }
    EXPECT_EQ(places,
              (std::vector<std::string>{"environment:0REQUEST_TIMEOUT", "agents.json:1/providers/p/type",
                                        "agents.json:3/agents/0/tags", "agents.json:4/agents/1/provider",
                                        "agents.json:5/agents/1/system_prompt_file", "agents.json:4/agents/1/history",
                                        "agents.json:4/agents/1/agent_id", "mcp.json:1/0", "mcp.json:2/1"}));
}

TEST(ConfigLoader, ShowsAFaultToPeopleAndPrograms) {
    Fault const told{"agents.json",
                     "/0/provdier",
                     "unknown key \"provdier\"",
                     "agent_id, provider",
                     "did you mean \"provider\"?",
                     2};
    EXPECT_EQ(to_text(told),
              "agents.json:2: /0/provdier\n"
              "    found    unknown key \"provdier\"\n"
              "    allowed  agent_id, provider\n"
              "    hint     did you mean \"provider\"?");
    EXPECT_EQ(boost::json::serialize(to_json(told)),
              R"({"file":"agents.json","pointer":"/0/provdier","found":"unknown key \"provdier\"",)"
              R"("allowed":"agent_id, provider","hint":"did you mean \"provider\"?","line":2})");
}

TEST(ConfigLoader, NamesThePlaceOfASyntaxError) {
    auto const fault = testing::only_fault(load({.agent_config = "[{\"agent_id\": \"a\",\n  \"provider\" \"demo\"}]"}));
    EXPECT_EQ(fault.line, 2);
    EXPECT_EQ(fault.column, 14);
    EXPECT_EQ(to_text(fault).substr(0, 16), "agents.json:2:14");
}

TEST(ConfigLoader, AgentConfigIsStrictJsonAndMcpIsNot) {
    auto const fault =
        testing::only_fault(load({.agent_config = "// mine\n[{\"agent_id\": \"a\", \"provider\": \"demo\"},]"}));
    EXPECT_NE(fault.hint.find("comments"), std::string::npos);
    auto const config = testing::good(
        {.agent_config = kOneAgent, .mcp = "// mine\n{\"mcpServers\": {\"a\": {\"command\": \"c\", /* x */}, },}"});
    EXPECT_EQ(config.mcp_servers.size(), 1U);
}

TEST(ConfigLoader, RefusesKeysGivenTwice) {
    auto const loaded =
        load({.agent_config = "[{\"agent_id\": \"a\",\n\"provider\": \"demo\",\n\"provider\": \"openai\"}]",
              .env = {{"OPENAI_API_KEY", "k"}}});
    auto const fault = testing::only_fault(loaded);
    EXPECT_EQ(fault.pointer, "/0/provider");
    EXPECT_EQ(fault.line, 3);
}

TEST(ConfigLoader, HashesEachFileOnceAsItIsOnDisk) {
    std::string const agents = R"([{"agent_id": "a", "provider": "demo", "system_prompt_file": "p.md"},
                                   {"agent_id": "b", "provider": "demo", "system_prompt_file": "./p.md",
                                    "description": "${HOME_OF:-x}"}])";
    auto const config = testing::good({.agent_config = agents, .mcp = "[]", .files = {{"prompts/p.md", " text\n"}}});
    ASSERT_EQ(config.manifests.size(), 3U);
    EXPECT_EQ(config.manifests[0].path, "agents.json");
    EXPECT_EQ(config.manifests[0].sha256, core::sha256_hex(agents));
    EXPECT_EQ(config.manifests[1].path, "prompts/p.md");
    EXPECT_EQ(config.manifests[1].sha256, core::sha256_hex(" text\n"));
    EXPECT_EQ(config.manifests[2].path, "mcp.json");
    EXPECT_EQ(config.agents[1].system_prompt, "text");
}

TEST(ConfigLoader, MissingFiles) {
    ConfigSources sources;
    sources.agent_config_path = "none.json";
    sources.read = [](std::string const&) -> core::Result<std::string> { return core::make_error(kNoSuchFile, "no"); };
    auto const fault = testing::only_fault(load_config(sources));
    EXPECT_EQ(fault.file, "none.json");
    EXPECT_NE(fault.hint.find("--config"), std::string::npos);

    EXPECT_TRUE(load({.agent_config = kOneAgent}).config.has_value());
    auto const mcp = testing::only_fault(load({.agent_config = kOneAgent, .mcp_required = true}));
    EXPECT_EQ(mcp.file, "mcp.json");
    EXPECT_NE(mcp.hint.find("--mcp"), std::string::npos);
}

TEST(ConfigLoader, UnreadableMcpIsAFaultAlsoWhenNotRequired) {
    ConfigSources sources;
    sources.agent_config_path = "agents.json";
    sources.mcp_path = "mcp.json";
    sources.read = [](std::string const& path) -> core::Result<std::string> {
        if (path == "mcp.json") return core::make_error(core::Errc::kInternal, "permission denied");
        return kOneAgent;
    };
    EXPECT_NE(testing::only_fault(load_config(sources)).found.find("permission denied"), std::string::npos);
}

TEST(ConfigLoader, PromptsStayInTheirFolder) {
    for (std::string_view const path : {"../secret.md", "/etc/passwd", "a/../../b.md", "..", ".", "a/..", "//x"}) {
        auto const loaded = load({.agent_config = R"([{"agent_id": "a", "provider": "demo", "system_prompt_file": ")" +
                                                  std::string(path) + "\"}]",
                                  .files = {{"secret.md", "s"}, {"/etc/passwd", "s"}, {"b.md", "s"}}});
        auto const fault = testing::only_fault(loaded);
        EXPECT_EQ(fault.pointer, "/0/system_prompt_file") << path;
        EXPECT_NE(fault.found.find("outside"), std::string::npos) << path;
    }
    auto const agent = testing::good_agent(
        {.agent_config = R"([{"agent_id": "a", "provider": "demo", "system_prompt_file": "sub/./x/../p.md"}])",
         .files = {{"prompts/sub/p.md", "\xEF\xBB\xBF\n Be brief. ${LITERAL} \n\n"}}});
    EXPECT_EQ(agent.system_prompt, "Be brief. ${LITERAL}");
}

TEST(ConfigLoader, AbsolutePromptPathInsideTheFolderIsFine) {
    ConfigSources sources;
    sources.agent_config_path = "a.json";
    sources.prompts_dir = "/app/config/prompts/";
    sources.read = [](std::string const& path) -> core::Result<std::string> {
        if (path == "/app/config/prompts/p.md") return std::string("hello");
        return std::string(
            R"([{"agent_id": "a", "provider": "demo", "system_prompt_file": "/app/config/prompts/p.md"}])");
    };
    auto const loaded = load_config(sources);
    ASSERT_TRUE(loaded.config.has_value()) << testing::report(loaded);
    EXPECT_EQ(loaded.config->agents[0].system_prompt, "hello");
}

TEST(ConfigLoader, PromptMistakesAreExplained) {
    auto const doubled = testing::only_fault(
        load({.agent_config = R"([{"agent_id": "a", "provider": "demo", "system_prompt_file": "prompts/p.md"}])",
              .files = {{"prompts/p.md", "x"}}}));
    EXPECT_NE(doubled.found.find("prompts/prompts/p.md"), std::string::npos);
    EXPECT_NE(doubled.hint.find("leave out"), std::string::npos);
    auto const binary = testing::only_fault(
        load({.agent_config = R"([{"agent_id": "a", "provider": "demo", "system_prompt_file": "p.md"}])",
              .files = {{"prompts/p.md", "\xff\xfe"}}}));
    EXPECT_NE(binary.found.find("not UTF-8"), std::string::npos);
    auto const large = testing::only_fault(
        load({.agent_config = R"([{"agent_id": "a", "provider": "demo", "system_prompt_file": "p.md"}])",
              .files = {{"prompts/p.md", std::string(kPromptFileBytesMax + 1, 'x')}}}));
    EXPECT_NE(large.found.find("too large"), std::string::npos);
}

TEST(ConfigLoader, NeverQuotesASecret) {
    auto const loaded = load(
        {.agent_config = R"({"providers": {
        "a": {"type": "openai", "base_url": "${ADDRESS}", "api_key": ["hunter2-list"]},
        "b": {"type": "openai", "base_url": "https://user:hunter2-url@h/", "api_key": "hunter2-key ${"},
        "c": {"type": "azure_openai", "base_url": "https://h", "entra": {"client_secret": {"hunter2-k": 1}}},
        "d": {"type": "openai", "headers": {"X": "hunter2-head\n${KEY}", "Y": ["hunter2-y"]}}},
      "agents": [{"agent_id": "a", "provider": "${KEY}", "history": "${KEY}", "system_prompt_file": "${KEY}/.."},
                 {"agent_id": "b c", "provider": "a", "model": "m", "resources": ["${KEY}"]}]})",
         .mcp = R"([{"server_label": "s", "url": "ftp://hunter2-m/${KEY}", "type": "${KEY}"}])",
         .env = {
             {"KEY", "hunter2-env"}, {"ADDRESS", "gopher://hunter2-address"}, {"OPENAI_BASE_URL", "hunter2-base"}}});
    EXPECT_GE(loaded.faults.size(), 9U);
    // Quotes are taken from the file as written and never from a field made for a secret.
    for (auto const& fault : loaded.faults) {
        EXPECT_EQ(to_text(fault).find("hunter2"), std::string::npos) << to_text(fault);
        EXPECT_EQ(boost::json::serialize(to_json(fault)).find("hunter2"), std::string::npos);
    }
    for (auto const& warning : loaded.warnings)
        EXPECT_EQ(warning.find("hunter2"), std::string::npos) << warning;
}

class DiskReader : public ::testing::Test {
protected:
    void SetUp() override {
        folder_ = std::filesystem::temp_directory_path() /
                  ("parley_config_" + std::to_string(::testing::UnitTest::GetInstance()->random_seed()) +
                   ::testing::UnitTest::GetInstance()->current_test_info()->name());
        std::filesystem::create_directories(folder_);
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    std::string write(std::string const& name, std::string const& bytes) const {
        auto const path = folder_ / name;
        std::ofstream(path, std::ios::binary) << bytes;
        return path.string();
    }

    std::filesystem::path folder_;
};

TEST_F(DiskReader, ReadsFiles) {
    auto const read = disk_reader();
    std::string const bytes("a\0b\r\n", 5);
    auto const text = read(write("f", bytes));
    ASSERT_TRUE(text.has_value());
    EXPECT_EQ(*text, bytes);
    EXPECT_EQ(*read(write("empty", "")), "");
}

TEST_F(DiskReader, SaysWhyNot) {
    auto const read = disk_reader();
    EXPECT_EQ(read((folder_ / "none").string()).error().code, kNoSuchFile);
    EXPECT_EQ(read(folder_.string()).error().message, "not a file");
    EXPECT_EQ(read("").error().code, kNoSuchFile);
    EXPECT_EQ(read(write("large", std::string(kConfigFileBytesMax + 1, ' '))).error().code,
              core::Errc::kPayloadTooLarge);
    EXPECT_EQ(read(write("limit", std::string(kConfigFileBytesMax, ' ')))->size(), kConfigFileBytesMax);
}

TEST_F(DiskReader, IsTheDefault) {
    ConfigSources sources;
    sources.agent_config_path = write("agents.json", kOneAgent);
    auto const loaded = load_config(sources);
    EXPECT_TRUE(loaded.config.has_value()) << testing::report(loaded);
}

} // namespace
} // namespace parley::agents

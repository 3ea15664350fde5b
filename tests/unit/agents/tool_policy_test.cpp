// Who may use which tools: null, [], lists and patterns, of the agent and of the server.
#include "agents/tool_policy.hpp"

#include <gtest/gtest.h>

#include "agents/catalogue.hpp"
#include "core/glob.hpp"
#include "tests/unit/agents/config_fixture.hpp"

namespace parley::agents {
namespace {

TEST(Globs, MatchWholeNames) {
    for (auto const& [pattern, text, matches] :
         std::initializer_list<std::tuple<std::string_view, std::string_view, bool>>{
             {"read", "read", true},
             {"read", "reads", false},
             {"*", "", true},
             {"*", "anything", true},
             {"read_*", "read_file", true},
             {"read_*", "read", false},
             {"*_file", "read_file", true},
             {"r?ad", "read", true},
             {"r?ad", "rad", false},
             {"a*b*c", "a1b2b3c", true},
             {"a*b*c", "a1c2b", false},
             {"", "", true},
             {"", "x", false},
             {"[ab]", "a", false}, // no character sets
         }) {
        EXPECT_EQ(core::glob_matches(pattern, text), matches) << pattern << " " << text;
    }
    EXPECT_FALSE(core::glob_matches(std::string(60, '*') + "x", std::string(10'000, 'a'))); // no exponential search
}

std::shared_ptr<Catalogue const> catalogue(std::string const& agent_members, std::string const& servers,
                                           Catalogue const* previous = nullptr) {
    return Catalogue::build(
        testing::good({.agent_config = R"({"agent_id": "a", "provider": "demo")" + agent_members + "}",
                       .mcp = R"({"mcpServers": {)" + servers + "}}"}),
        previous, 0);
}

std::string const kTwo = R"("fs": {"command": "c"}, "db": {"command": "d", "excludeTools": ["drop_*"]})";

std::string labels(Catalogue const& all) {
    std::string out;
    for (auto const& server : all.find("a")->tools->servers)
        out += server.spec->label + " ";
    return out;
}

TEST(ToolPolicy, NullIsAllAndEmptyIsNone) {
    EXPECT_EQ(labels(*catalogue("", kTwo)), "fs db ");
    EXPECT_EQ(labels(*catalogue(R"(, "allowed_mcp_servers": null)", kTwo)), "fs db ");
    EXPECT_EQ(labels(*catalogue(R"(, "allowed_mcp_servers": {})", kTwo)), "");
    EXPECT_EQ(labels(*catalogue(R"(, "allowed_mcp_servers": {"db": {}})", kTwo)), "db ");
    EXPECT_EQ(labels(*catalogue(R"(, "allowed_mcp_servers": {"db": {"allowed_mcp_tools": []}})", kTwo)), "");
    EXPECT_EQ(labels(*catalogue(R"(, "allowed_mcp_servers": {"*": {}})", kTwo)), "fs db ");
    EXPECT_EQ(catalogue("", kTwo)->find("a")->tools->built_ins.size(), 2U);
    EXPECT_TRUE(catalogue(R"(, "allowed_regular_tools": [])", kTwo)->find("a")->tools->built_ins.empty());
    EXPECT_EQ(catalogue(R"(, "allowed_regular_tools": ["add_*"])", kTwo)->find("a")->tools->built_ins,
              std::vector<std::string>{"add_two_numbers"});
}

TEST(ToolPolicy, ListsOfAgentAndServerBothCount) {
    auto const all =
        catalogue(R"(, "allowed_mcp_servers": {"db": {"allowed_mcp_tools": ["drop_table", "query*"]}})", kTwo);
    auto const& db = all->find("a")->tools->servers.at(0);
    EXPECT_TRUE(db.allows("query_one"));
    EXPECT_FALSE(db.allows("drop_table")); // the server's deny list has the last word
    EXPECT_FALSE(db.allows("insert"));
}

TEST(ToolPolicy, LimitsOfZeroMeanNoTools) {
    EXPECT_TRUE(catalogue(R"(, "limits": {"max_tool_rounds": 0})", kTwo)->find("a")->tools->empty());
    EXPECT_TRUE(catalogue(R"(, "limits": {"max_tool_calls": 0})", kTwo)->find("a")->tools->empty());
}

TEST(ToolPolicy, ServersThatCannotBeUsedAreNotOffered) {
    auto const all = catalogue("", R"("a": {"command": "c", "disabled": true}, "b": {"command": "${UNSET_ONE}"},
        "c": {"command": "c", "require_approval": "always"}, "d": {"command": "c"})");
    EXPECT_EQ(labels(*all), "d ");
    EXPECT_EQ(all->mcp_servers()[0].unavailable, "it is disabled in the configuration");
    EXPECT_EQ(all->mcp_servers()[1].unavailable, "UNSET_ONE is not set");
    EXPECT_NE(all->mcp_servers()[2].unavailable.find("nobody is there to ask"), std::string::npos);
}

TEST(ToolPolicy, AReloadKeepsTheServersThatDidNotChange) {
    auto const before = catalogue("", kTwo);
    auto const after = catalogue("", R"("fs": {"command": "c"}, "db": {"command": "other"})", before.get());
    EXPECT_EQ(after->mcp_servers()[0].spec, before->mcp_servers()[0].spec);
    EXPECT_NE(after->mcp_servers()[1].spec, before->mcp_servers()[1].spec);
    EXPECT_EQ(after->find("a")->tools->specs.at(0), before->mcp_servers()[0].spec);
}

} // namespace
} // namespace parley::agents

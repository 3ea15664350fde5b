// Names on the wire, schemas for providers, and the set that puts them together.
#include "agents/tool_set.hpp"

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <set>

#include "agents/tool_names.hpp"
#include "agents/tool_schema.hpp"

namespace parley::agents {
namespace {

namespace json = boost::json;

TEST(ToolNames, AreWhatEveryProviderTakes) {
    EXPECT_EQ(wire_name("fs", "read_file"), "fs__read_file");
    EXPECT_EQ(wire_name("my server", "a.b/c"), "my_server__a_b_c");
    EXPECT_EQ(wire_name("1st", "t"), "t_1st__t");
    EXPECT_EQ(wire_name("é", "t"), "t_____t");
    auto const exact = wire_name("l", std::string(61, 'x'));
    EXPECT_EQ(exact.size(), 64U);
    EXPECT_EQ(exact.back(), 'x');
    auto const cut = wire_name("l", std::string(62, 'x'));
    EXPECT_EQ(cut.size(), 64U);
    EXPECT_EQ(cut.substr(0, 56), "l__" + std::string(52, 'x') + "_");
    EXPECT_NE(cut, wire_name("l", std::string(63, 'x')));
    EXPECT_EQ(cut, wire_name("l", std::string(62, 'x'))); // the same every time
}

TEST(ToolNames, DoNotCollide) {
    std::set<std::string, std::less<>> taken;
    auto const first = unique_wire_name("a", "b__c", taken);
    auto const second = unique_wire_name("a__b", "c", taken);
    auto const third = unique_wire_name("a", "b..c", taken);
    EXPECT_EQ(first, "a__b__c");
    EXPECT_NE(second, first);
    EXPECT_NE(third, first);
    EXPECT_NE(third, second);
    EXPECT_EQ(taken.size(), 3U);
}

std::string cleaned(std::string_view schema, SchemaProfile profile = SchemaProfile::kGeneric) {
    return json::serialize(cleaned_schema(schema, profile));
}

TEST(ToolSchema, KeepsWhatIsFine) {
    auto const* const fine =
        R"({"type":"object","properties":{"id":{"type":"string","pattern":"^a","format":"uri","default":1}},"required":["id"],"additionalProperties":false})";
    EXPECT_EQ(cleaned(fine), fine);
}

TEST(ToolSchema, IsAlwaysAnObject) {
    for (std::string_view const schema : {"", "null", "[]", "{", "true", "{}", R"({"type":["object","null"]})"})
        EXPECT_EQ(cleaned(schema), R"({"type":"object","properties":{}})") << schema;
}

TEST(ToolSchema, PutsReferencesInPlace) {
    EXPECT_EQ(
        cleaned(R"({"$schema":"http://json-schema.org/draft-07/schema#","type":"object","$defs":{"p":{"type":"string"}},
                          "properties":{"a":{"$ref":"#/$defs/p","description":"mine"},"b":{"$ref":"http://evil/x"}}})"),
        R"({"type":"object","properties":{"a":{"type":"string","description":"mine"},"b":{}}})");
    // A reference to itself ends; so does one that grows with every level.
    EXPECT_EQ(cleaned(R"({"type":"object","properties":{"next":{"$ref":"#"}}})"),
              R"({"type":"object","properties":{"next":{"type":"object","properties":{"next":{}}}}})");
    std::string bomb = R"({"type":"object","properties":{"x":{"$ref":"#/$defs/d0"}},"$defs":{)";
    for (auto i = 0; i < 20; ++i) {
        auto const next = R"({"$ref":"#/$defs/d)" + std::to_string(i + 1) + "\"}";
        bomb += "\"d" + std::to_string(i) + R"(":{"properties":{"a":)" + next + R"(,"b":)" + next + "}},";
    }
    bomb += R"("d20":{}}})";
    EXPECT_LT(cleaned(bomb).size(), 1'000'000U);
}

TEST(ToolSchema, MendsWhatProvidersRefuse) {
    EXPECT_EQ(
        cleaned(
            R"({"properties":{"a":{"const":"x"},"b":{"type":"array"},"c":{"items":[{"type":"string"}]},"d":{"properties":{}}}})"),
        R"({"properties":{"a":{"enum":["x"]},"b":{"type":"array","items":{}},"c":{"items":{"anyOf":[{"type":"string"}]},"type":"array"},"d":{"properties":{},"type":"object"}},"type":"object"})");
    EXPECT_EQ(
        cleaned(R"({"type":"object","properties":{"examples":{"type":"string","examples":["x"],"$comment":"c"}}})"),
        R"({"type":"object","properties":{"examples":{"type":"string"}}})"); // a property of that name stays
}

TEST(ToolSchema, AlternativesOnTopBecomeOneObject) {
    EXPECT_EQ(
        cleaned(
            R"({"anyOf":[{"properties":{"a":{},"b":{}},"required":["a","b"]},{"properties":{"a":{},"c":{}},"required":["a"]}]})"),
        R"({"properties":{"a":{},"b":{},"c":{}},"required":["a"],"type":"object"})");
    EXPECT_EQ(
        cleaned(R"({"allOf":[{"properties":{"a":{}},"required":["a"]},{"properties":{"b":{}},"required":["b"]}]})"),
        R"({"properties":{"a":{},"b":{}},"type":"object","required":["a","b"]})");
}

TEST(ToolSchema, ForGeminiOnlyItsSubset) {
    EXPECT_EQ(schema_profile("google/gemini-2.5-pro"), SchemaProfile::kGemini);
    EXPECT_EQ(schema_profile("gpt-5"), SchemaProfile::kGeneric);
    EXPECT_EQ(
        cleaned(R"({"type":"object","additionalProperties":false,"properties":{
                  "a":{"type":["string","null"],"format":"uri","default":"x"},"b":{"enum":[1,2],"type":"integer"},
                  "c":{"type":"array"},"d":{"oneOf":[{"type":"string"}]}},"required":["a","gone"]})",
                SchemaProfile::kGemini),
        R"({"type":"object","properties":{"a":{"type":"string","nullable":true},"b":{"type":"integer"},"c":{"type":"array","items":{"type":"string"}},"d":{"anyOf":[{"type":"string"}]}},"required":["a"]})");
}

std::shared_ptr<mcp::ToolList const> list(std::vector<mcp::Tool> tools) {
    return std::make_shared<mcp::ToolList const>(mcp::ToolList{std::move(tools)});
}

TEST(ToolSet, OffersWhatThePolicyAllowsAndFindsTheWayBack) {
    auto const spec = std::make_shared<mcp::ServerSpec const>(mcp::ServerSpec{"fs"});
    AgentTools tools;
    tools.built_ins = {"add_two_numbers"};
    tools.servers = {{spec, AllowedNames{{"r*"}}, {}, {"rm"}}};
    std::vector<mcp::ServerTools> const lists{
        {spec, list({{"read", "Reads \"it\".", R"({"type":"object"})", {}, true, ""},
                     {"rm", "", "{}", {}, false, ""},
                     {"write", "", "{}", {}, false, ""}})}};
    ToolSet const set(tools, lists);
    EXPECT_EQ(set.size(), 2U);
    auto const* const read = set.find("fs__read");
    ASSERT_NE(read, nullptr);
    EXPECT_EQ(read->name, "read");
    EXPECT_EQ(read->server, spec);
    EXPECT_TRUE(read->read_only);
    EXPECT_EQ(set.find("fs__rm"), nullptr);
    EXPECT_EQ(set.find("fs__write"), nullptr);
    EXPECT_EQ(set.find("add_two_numbers")->server, nullptr);
    auto const offered = json::parse(set.json(SchemaProfile::kGeneric)).as_array();
    ASSERT_EQ(offered.size(), 2U);
    EXPECT_EQ(
        json::serialize(offered[1]),
        R"({"type":"function","function":{"name":"fs__read","description":"Reads \"it\".","parameters":{"type":"object","properties":{}}}})");
}

TEST(ToolSet, AServerWithoutListIsLeftOut) {
    auto const spec = std::make_shared<mcp::ServerSpec const>(mcp::ServerSpec{"fs"});
    AgentTools tools;
    tools.servers = {{spec}};
    std::vector<mcp::ServerTools> const lists{{spec, nullptr, "dead"}};
    EXPECT_TRUE(ToolSet(tools, lists).empty());
}

TEST(ToolSetCache, KnowsListsByTheirAddress) {
    auto const tools = std::make_shared<AgentTools const>();
    auto const spec = std::make_shared<mcp::ServerSpec const>(mcp::ServerSpec{"fs"});
    std::vector<mcp::ServerTools> lists{{spec, list({})}};
    ToolSetCache cache(2);
    auto const first = cache.get(tools, lists);
    EXPECT_EQ(cache.get(tools, lists), first);
    EXPECT_EQ(cache.builds(), 1U);
    lists[0].list = list({});
    EXPECT_NE(cache.get(tools, lists), first);
    auto const other = std::make_shared<AgentTools const>();
    cache.get(other, lists);
    EXPECT_EQ(cache.builds(), 3U);
    cache.get(other, lists);
    EXPECT_EQ(cache.builds(), 3U); // the first was the one to go
}

} // namespace
} // namespace parley::agents

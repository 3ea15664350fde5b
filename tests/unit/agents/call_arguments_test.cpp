// Arguments that a model made up: what is let through, what it is told, and that no schema can hold us up.
#include "agents/call_arguments.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace parley::agents {
namespace {

using ::testing::HasSubstr;

std::string problem(std::string_view schema, std::string_view arguments) {
    auto const parsed = parse_arguments(arguments);
    EXPECT_TRUE(parsed.has_value()) << arguments;
    return parsed ? ArgumentSchema(schema).problem(*parsed).value_or("") : "?";
}

TEST(CallArguments, MustBeOneJsonObject) {
    EXPECT_TRUE(parse_arguments("").has_value());
    EXPECT_TRUE(parse_arguments(" \n").has_value());
    EXPECT_TRUE(parse_arguments(R"({"a": [1, {"b": null}]})").has_value());
    for (std::string_view const bad : {"[]", "1", "null", "{", R"({"a":1} trailing)", R"({"a":1,"a":2})", "{'a':1}"})
        EXPECT_FALSE(parse_arguments(bad).has_value()) << bad;
    EXPECT_FALSE(parse_arguments(R"({"a":)" + std::string(100, '[') + std::string(100, ']') + "}").has_value());
    EXPECT_FALSE(parse_arguments(R"({"a":")" + std::string(kArgumentsBytesMax, 'x') + "\"}").has_value());
}

TEST(CallArguments, AreCheckedAgainstTheSchema) {
    auto const* const schema = R"({"type":"object","properties":{"n":{"type":"integer","minimum":1},
        "o":{"type":"object","properties":{"k":{"enum":["x","y"]}}}},"required":["n"],"additionalProperties":false})";
    EXPECT_EQ(problem(schema, R"({"n":1,"o":{"k":"x"}})"), "");
    EXPECT_THAT(problem(schema, "{}"), HasSubstr("'n'"));
    EXPECT_THAT(problem(schema, R"({"n":"1"})"), HasSubstr("- n: "));
    EXPECT_THAT(problem(schema, R"({"n":0})"), HasSubstr("- n: "));
    EXPECT_THAT(problem(schema, R"({"n":1,"m":2})"), HasSubstr("m"));
    EXPECT_THAT(problem(schema, R"({"n":1,"o":{"k":"z"}})"), HasSubstr("o.k"));
}

TEST(CallArguments, ReferencesCountToo) {
    auto const* const schema =
        R"({"$defs":{"p":{"type":"string"}},"type":"object","properties":{"a":{"$ref":"#/$defs/p"}}})";
    EXPECT_EQ(problem(schema, R"({"a":"x"})"), "");
    EXPECT_THAT(problem(schema, R"({"a":1})"), HasSubstr("- a: "));
}

TEST(CallArguments, AnUnreadableSchemaBlocksNothing) {
    for (std::string_view const schema : {"", "nonsense", "[]", R"({"type":12})", R"({"properties":7})",
                                          R"({"type":"object","properties":{"a":{"$ref":"https://h/x.json"}}})"})
        EXPECT_EQ(problem(schema, R"({"a":1})"), "") << schema;
}

TEST(CallArguments, NoSchemaTakesForEver) {
    EXPECT_EQ(problem(R"({"anyOf":[{"$ref":"#"},{"$ref":"#"}]})", R"({"a":1})"), "");
    EXPECT_EQ(problem(R"({"properties":{"a":{"pattern":"^(a+)+$"}}})", R"({"a":")" + std::string(50'000, 'a') + "!\"}"),
              "");
    auto const many = R"({"a":[)" + std::string("0") + [] {
        std::string out;
        for (auto i = 1; i < 100'000; ++i)
            out += "," + std::to_string(i);
        return out;
    }() + "]}";
    EXPECT_EQ(problem(R"({"properties":{"a":{"type":"array","uniqueItems":true}}})", many), "");
}

} // namespace
} // namespace parley::agents

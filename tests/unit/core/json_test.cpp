// JSON text: escape, unescape, repair, and the check, against a representative set of the cases of JSONTestSuite
// (y_ = must be accepted, n_ = must be refused) and rows J1-J10 of the bad-input table.
#include "core/json.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/json_object.hpp"
#include "core/json_padded.hpp"

namespace parley::core {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

constexpr std::size_t kDepth = 64;

std::string repeat(std::string_view part, std::size_t times) {
    std::string text;
    for (std::size_t i = 0; i < times; ++i)
        text += part;
    return text;
}

std::string fault_of(std::string_view text) {
    auto const result = check_json(text, kDepth);
    return result ? "" : result.error().message;
}

TEST(JsonCheck, AcceptsWhatRfc8259Allows) {
    std::string_view const accepted[] = {
        R"([[]   ])",
        R"([""])",
        R"([])",
        R"(["a"])",
        R"([false])",
        R"([null, 1, "1", {}])",
        R"([null])",
        "[1\n]",
        R"( [1])",
        R"([1,null,null,null,2])",
        R"([2] )",
        R"([123e65])",
        R"([0e+1])",
        R"([0e1])",
        R"([ 4])",
        R"([-0.000000000000000000000000000000000000000000000000000000000000000000000000000001])",
        R"([20e1])",
        R"([-0])",
        R"([-123])",
        R"([-1])",
        R"([1E22])",
        R"([1E-2])",
        R"([1E+2])",
        R"([123e45])",
        R"([123.456e78])",
        R"([1e-2])",
        R"([1e+2])",
        R"([123])",
        R"([123.456789])",
        R"([1e-400])",
        R"([12345678901234567890123])",
        R"({"asd":"sdf", "dfg":"fgh"})",
        R"({"asd":"sdf"})",
        R"({})",
        R"({"":0})",
        R"({"foo\u0000bar": 42})",
        R"({ "min": -1.0e+28, "max": 1.0e+28 })",
        R"({"title":"\u041f\u043e\u043b"})",
        "{\n\"a\": \"b\"\n}",
        R"(["\u0060\u012a\u12AB"])",
        R"(["\uD801\udc37"])",
        R"(["\ud83d\ude39\ud83d\udc8d"])",
        R"(["\"\\\/\b\f\n\r\t"])",
        R"(["\\u0000"])",
        R"(["\""])",
        R"(["a/*b*/c/*d//e"])",
        R"(["\\a"])",
        R"(["\\n"])",
        R"(["\u0012"])",
        R"(["\uFFFF"])",
        R"([ "asd"])",
        R"(["\uDBFF\uDFFF"])",
        R"(["new\u00A0line"])",
        "[\"\xF4\x8F\xBF\xBF\"]",
        "[\"\xEF\xBF\xBF\"]",
        R"(["\u0000"])",
        R"(["\u002c"])",
        "[\"\xCF\x80\"]",
        R"(["asd "])",
        R"(" ")",
        R"(["\u0821"])",
        R"(["\u0123"])",
        "[\"\xE2\x80\xA8\"]",
        R"(["\u0061\u30af\u30EA"])",
        "[\"new\x7fline\"]",
        R"(["\uA66D"])",
        R"(["\u005C"])",
        "[\"\xE2\x8D\x82\xE3\x88\xB4\"]",
        R"(["\u200B"])",
        R"(["\u2064"])",
        R"(["\uFDD0"])",
        R"(["\uFFFE"])",
        R"(["\u0022"])",
        R"(["a)"
        "\x7f"
        R"(a"])",
        R"(false)",
        R"(42)",
        R"(-0.1)",
        R"(null)",
        R"("asd")",
        R"(true)",
        R"("")",
        "[\"a\"]\n",
        R"([true])",
        R"( [] )",
        "\t[]\r\n",
        R"({"a":{"b":1,"b":2}})", // twice below the top level: not our business
        R"({"__proto__":{},"constructor":1})"};
    for (auto const text : accepted)
        EXPECT_EQ(fault_of(text), "") << text;
}

TEST(JsonCheck, RefusesWhatRfc8259Forbids) {
    std::string const refused[] = {"",
                                   " ",
                                   "\n",
                                   "[1 true]",
                                   "[a\xe5]",
                                   "[\"\": 1]",
                                   "[\"\"],",
                                   "[,1]",
                                   "[1,,2]",
                                   "[\"x\",,]",
                                   "[\"x\"]]",
                                   "[\"\",]",
                                   "[\"x\"",
                                   "[x",
                                   "[3[4]]",
                                   "[\xff]",
                                   "[1:2]",
                                   "[,]",
                                   "[-]",
                                   "[   , \"\"]",
                                   "[\"a\",\n4\n,1,",
                                   "[1,]",
                                   "[1,,]",
                                   "[\"\va\"\\f]",
                                   "[*]",
                                   "[\"\"",
                                   "[1,\n1\n,1",
                                   "[{}",
                                   "[fals]",
                                   "[nul]",
                                   "[tru]",
                                   "[nulll]",
                                   "[truex]",
                                   "123\0"s,
                                   "[++1234]",
                                   "[+1]",
                                   "[+Inf]",
                                   "[-01]",
                                   "[-1.0.]",
                                   "[-2.]",
                                   "[-NaN]",
                                   "[.-1]",
                                   "[.2e-3]",
                                   "[0.1.2]",
                                   "[0.3e+]",
                                   "[0.3e]",
                                   "[0.e1]",
                                   "[0E+]",
                                   "[0E]",
                                   "[0e]",
                                   "[1.0e+]",
                                   "[1.0e-]",
                                   "[1.0e]",
                                   "[1 000.0]",
                                   "[1eE2]",
                                   "[2.e+3]",
                                   "[2.e-3]",
                                   "[2.e3]",
                                   "[9.e+]",
                                   "[Inf]",
                                   "[NaN]",
                                   "[\xEF\xBC\x91]",
                                   "[1+2]",
                                   "[0x1]",
                                   "[0x42]",
                                   "[Infinity]",
                                   "[0e+-1]",
                                   "[-123.123foo]",
                                   "[123\xe5]",
                                   "[1e1\xe5]",
                                   "[0\xe5]",
                                   "[-Infinity]",
                                   "[-foo]",
                                   "[- 1]",
                                   "[-012]",
                                   "[-.123]",
                                   "[-1x]",
                                   "[1ea]",
                                   "[1e\xe5]",
                                   "[1.]",
                                   "[.123]",
                                   "[1.2a-3]",
                                   "[1.8011670033376514H-308]",
                                   "[012]",
                                   "[1e400]",
                                   "[-1e999]",
                                   "[1E400]",
                                   "[1e-99999999999]",
                                   "{\"a\":-0.5E-99999999999}",
                                   "[0e99999999999]",
                                   "[1e99999999]",
                                   "[" + repeat("9", 5000) + "]",
                                   "[\"x\", truth]",
                                   "{[: \"x\"}",
                                   "{\"x\", null}",
                                   "{\"x\"::\"b\"}",
                                   "{\"a\":\"a\" 123}",
                                   "{key: 'value'}",
                                   "{\"a\" b}",
                                   "{:\"b\"}",
                                   "{\"a\" \"b\"}",
                                   "{\"a\":",
                                   "{\"a\"",
                                   "{1:1}",
                                   "{9999E9999:1}",
                                   "{null:null,null:null}",
                                   "{\"id\":0,,,,,}",
                                   "{'a':0}",
                                   "{\"id\":0,}",
                                   "{\"a\":\"b\"}/**/",
                                   "{\"a\":\"b\"}//",
                                   "{\"a\":/*comment*/\"b\"}",
                                   "{\"a\":\"b\",,\"c\":\"d\"}",
                                   "{a: \"b\"}",
                                   "{\"a\":\"a",
                                   "{ \"foo\" : \"bar\", \"a\" }",
                                   "{\"a\":\"b\"}#",
                                   "[\"\\uD800\\\"]",
                                   "[\"\\uD800\\u\"]",
                                   "[\"\\uD800\\u1\"]",
                                   "[\"\\uD800\\u1x\"]",
                                   "[\xC3\xA9]",
                                   "[\"\\\0\"]"s,
                                   "[\"\\x00\"]",
                                   "[\"\\\\\\\"]",
                                   "[\"\\\t\"]",
                                   "[\"\\\xF0\x9F\x8C\x80\"]",
                                   "[\"\\\"]",
                                   "[\"\\u00A\"]",
                                   "[\"\\uD834\\uDd\"]",
                                   "[\"\\uD800\\uD800\\x\"]",
                                   "[\"\\u\xe5\"]",
                                   "[\"\\a\"]",
                                   "[\"\\uqqqq\"]",
                                   "[\"\\\xe5\"]",
                                   "[\\u0020\"asd\"]",
                                   "[\\n]",
                                   "\"",
                                   "['single quote']",
                                   "abc",
                                   "[\"\\",
                                   "[\"a\0a\"]"s,
                                   "[\"new\nline\"]",
                                   "[\"\t\"]",
                                   "\"\\UA66D\"",
                                   "\"\"x",
                                   "<.>",
                                   "[<null>]",
                                   "[1]x",
                                   "[1]]",
                                   "[\"asd]",
                                   "aaa\xc3\xa5",
                                   "[True]",
                                   "1]",
                                   "{\"x\": true,",
                                   "[][]",
                                   "]",
                                   "\xEF\xBB\xBF{}",
                                   "\xEF\xBB\xBF",
                                   "\xe5",
                                   "[",
                                   "{}}",
                                   "{\"\":",
                                   "{\"a\": true} \"x\"",
                                   "[\"",
                                   "{",
                                   "{[",
                                   "{,",
                                   "{\"a",
                                   "{'a'",
                                   "[\"\\{[\"\\{[\"\\{",
                                   "*",
                                   "{\"a\":\"b\"}#{}",
                                   "[\\u000A\"\"]",
                                   "[1",
                                   "[ false, nul",
                                   "[ true, fals",
                                   "{\"asd\":\"asd\"",
                                   "\xC3\xA5",
                                   "[\xE2\x81\xA0]",
                                   "[\f]",
                                   "1 2",
                                   "null null",
                                   "{} {}",
                                   "\"a\" \"b\"",
                                   "true,",
                                   "falsel",
                                   "true1",
                                   "nulll",
                                   "1x",
                                   "1.5e",
                                   "-",
                                   "[\"\xC0\xAF\"]",
                                   "[\"\xED\xA0\x80\"]",
                                   "[\"\xF5\x80\x80\x80\"]",
                                   "[\"\xE0\xFF\"]",
                                   "[\"\\ud800\"]",
                                   "[\"\\udc00\"]",
                                   "[\"\\udc00\\ud800\"]",
                                   "[\"\\ud800abc\"]",
                                   "[\"\\ud800\\n\"]",
                                   "{\"\\ud800\":1}",
                                   "{\"a\\x\":1}",
                                   "{\"a\":{\"b\\udfff\":1}}",
                                   repeat("[", 100000),
                                   repeat("{\"\":", 50000),
                                   repeat("[{\"\":", 50000),
                                   "[[[[" + repeat("]", 3)};
    for (auto const& text : refused) {
        auto const result = check_json(text, kDepth);
        ASSERT_FALSE(result.has_value()) << text.substr(0, 60);
        EXPECT_EQ(result.error().code, Errc::kInvalidJson);
        EXPECT_FALSE(result.error().message.empty());
        EXPECT_TRUE(is_valid_utf8(result.error().message)) << text.substr(0, 60);
    }
}

TEST(JsonCheck, SaysWhatIsWrongAndWhere) {
    EXPECT_EQ(fault_of(""), "the text is empty");
    EXPECT_EQ(fault_of("\xEF\xBB\xBF{}"), "a byte order mark is not allowed at byte 0 (line 1, column 1)");
    EXPECT_EQ(fault_of("{\n  \"a\": NaN}"), "unexpected character 'N' at byte 9 (line 2, column 8)");
    EXPECT_EQ(fault_of("{\"a\":1e400}"), "invalid or too large number at byte 5 (line 1, column 6)");
    EXPECT_EQ(fault_of("[\"ab\x01\"]"), "unescaped control character in a string at byte 4 (line 1, column 5)");
    EXPECT_EQ(fault_of("[\"ab\xFFz\"]"), "invalid UTF-8 at byte 4 (line 1, column 5)");
    EXPECT_EQ(fault_of("[\"a\\ud800b\"]"),
              "invalid escape or unpaired surrogate in a string at byte 3 (line 1, column 4)");
    EXPECT_EQ(fault_of("{\"a\":[1"),
              "the text does not end with the bracket that closes it at byte 7 (line 1, column 8)");
    EXPECT_EQ(fault_of("[\"abc"), "unexpected end inside a string at byte 5 (line 1, column 6)");
}

TEST(JsonCheck, CountsLevels) {
    EXPECT_TRUE(check_json("1", 0));
    EXPECT_FALSE(check_json("[]", 0));
    EXPECT_TRUE(check_json(repeat("[", 64) + repeat("]", 64), 64));
    EXPECT_TRUE(check_json("[" + repeat("[],", 200) + "1]", 2));
    auto const deep = check_json(repeat("[", 65) + repeat("]", 65), 64);
    ASSERT_FALSE(deep);
    EXPECT_EQ(deep.error().message, "more than 64 levels of nesting at byte 64 (line 1, column 65)");
    EXPECT_FALSE(check_json(repeat("[", 100000) + repeat("]", 100000), 1'000'000)); // no stack overflow either
}

TEST(JsonCheck, NamesAKeyThatOccursTwice) {
    auto const twice = check_json(R"({"model":"a","stream":true,"model":"b"})", kDepth);
    ASSERT_FALSE(twice);
    EXPECT_EQ(twice.error().message, "the key 'model' occurs more than once");
    EXPECT_EQ(twice.error().param, "model");
    EXPECT_FALSE(check_json(R"({"model":"a","mod\u0065l":"b"})", kDepth)) << "an escape does not make it another key";
    EXPECT_FALSE(check_json(R"({"":1,"":2})", kDepth));
}

TEST(JsonCheck, WhatLiesBehindAPaddedTextDoesNotMatter) {
    std::string_view const whole = R"({"a":{"b":[{},[],"s",{"c":-1.5e3}],"d":true},"e":null})";
    for (std::size_t size = 1; size <= whole.size(); ++size) {
        for (char const behind : {'"', '}', ']', ',', '0', ' ', '\0'}) {
            std::string text(whole.substr(0, size));
            text.append(kJsonPadding, behind);
            bool const good = size == whole.size();
            EXPECT_EQ(check_json_padded({text.data(), size}, text.size(), kDepth).has_value(), good) << size << behind;
            EXPECT_EQ(check_json_padded({text.data(), size}, size, kDepth).has_value(), good) << "no room: copied";
        }
    }
    for (std::string_view const scalar : {"1", "-1.5", "true", "null", "\"s\""}) {
        for (char const behind : {'"', '}', '0', 'e', '.', ' ', '\0'}) {
            std::string text(scalar);
            text.append(kJsonPadding, behind);
            EXPECT_TRUE(check_json_padded({text.data(), scalar.size()}, text.size(), kDepth)) << scalar << behind;
        }
    }
}

TEST(JsonCheck, TakesWhiteSpaceAroundAnyValue) {
    for (std::string const value : {"null", "true", "false", "0", "\"\"", "[]", "{}"}) {
        for (std::string const before : {"", " ", "\n", "\r\n\t"}) {
            for (std::string const& behind : {std::string{}, " "s, "\n"s, "  "s, "\r\n\t"s, std::string(5000, ' ')}) {
                EXPECT_TRUE(check_json(before + value + behind, kDepth)) << before << value << behind;
                EXPECT_FALSE(check_json(before + value + behind + value, kDepth)) << before << value << behind << value;
            }
        }
    }
}

TEST(JsonCheck, YieldsTheMembersOfAnObject) {
    std::string text = " { \"a\" : [1, {\"x\":[]} ] ,\n\"b\\u0065\":\"s\" , \"c\":1.50\t,\"d\":{},\"e\":null } ";
    auto const size = text.size();
    text.append(kJsonPadding, ' ');
    CheckedObject object;
    ASSERT_TRUE(object.check({text.data(), size}, text.size(), kDepth));
    std::vector<std::pair<std::string_view, std::string_view>> seen;
    for (auto const& [key, json] : object.members())
        seen.emplace_back(key, json);
    EXPECT_EQ(seen, (decltype(seen){
                        {"a", "[1, {\"x\":[]} ]"}, {"b\\u0065", "\"s\""}, {"c", "1.50"}, {"d", "{}"}, {"e", "null"}}));

    for (auto const other : {"[]"sv, "1"sv, "\"{}\""sv, "null"sv, "{"sv, "{\"a\":1"sv, "{\"a\":[1}"sv, "{\"a\"}"sv}) {
        std::string padded(other);
        padded.append(kJsonPadding, ' ');
        CheckedObject refused;
        auto const result = refused.check({padded.data(), other.size()}, padded.size(), kDepth);
        ASSERT_FALSE(result) << other;
        EXPECT_EQ(result.error().code, Errc::kInvalidJson);
    }
    EXPECT_EQ(CheckedObject{}.check("{}", 2, kDepth).error().code, Errc::kInternal) << "no room";
    std::string const inside(2 * kJsonPadding, '}');
    EXPECT_EQ(CheckedObject{}.check({inside.data(), 2}, inside.size(), kDepth).error().code, Errc::kInternal);
}

TEST(JsonCheck, WalksAnyMemberOfACheckedObjectAsOftenAsWanted) {
    std::string text = R"({"a":{"b":[1,2]},"\u0062":[{"a":"x"},"y"],"c":"a","d":3})";
    text.reserve(text.size() + kJsonPadding);
    CheckedObject object;
    ASSERT_TRUE(object.check(text, text.capacity(), kDepth));
    auto const& members = object.members();
    ASSERT_EQ(members.size(), 4U);
    for (std::size_t const i : {3U, 1U, 0U, 2U, 1U, 1U}) {
        ASSERT_TRUE(check_json(R"({"another":"text, read by another reader meanwhile"})", kDepth));
        auto value = object.enter(members[i]);
        ASSERT_TRUE(value) << i;
        EXPECT_EQ(value->raw_json_token().data(), members[i].json.data());
    }
    auto value = object.enter(members[1]);
    ASSERT_TRUE(value);
    std::vector<std::string_view> seen;
    for (auto element : value->get_array())
        seen.push_back(simdjson::to_json_string(element.value()));
    EXPECT_EQ(seen, (std::vector<std::string_view>{R"({"a":"x"})", R"("y")"}));

    JsonMember const stranger{"a", "1"}; // the same key, but not this object's
    EXPECT_EQ(object.enter(stranger).error().code, Errc::kInternal);
}

TEST(JsonCheck, ReadsAfterATextThatIsTooLargeForTheReaderToBeKept) {
    for (auto const size : {std::size_t{10}, JsonParser::kKeptCapacityMax + 1, std::size_t{1000}}) {
        auto const string = '"' + std::string(size, 'x') + '"';
        EXPECT_TRUE(check_json(string, kDepth)) << size;
        EXPECT_FALSE(check_json(string + "1", kDepth)) << size;
        JsonParser again; // what it was used for before does not show
        EXPECT_LE(again.get().capacity(), JsonParser::kKeptCapacityMax);
    }
}

TEST(JsonCheck, TakesManyKeysInReasonableTime) {
    std::string text = "{";
    for (int i = 0; i < 200'000; ++i)
        text += "\"k" + std::to_string(i) + "\":1,";
    text += "\"end\":1}";
    EXPECT_TRUE(check_json(text, kDepth));
}

TEST(JsonBody, EscapesExactlyWhatMustBe) {
    std::string out;
    append_json_body(out, "a\"b\\c\n\r\t\b\f\x01\x1f\x7f/ \xC3\xA9\xF0\x9F\x98\x80"sv);
    EXPECT_EQ(out, "a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0001\\u001f\x7f/ \xC3\xA9\xF0\x9F\x98\x80");
    out.clear();
    append_json_string(out, "\0x"sv);
    EXPECT_EQ(out, "\"\\u0000x\"");
}

TEST(JsonBody, FindsTheByteToEscapeWhereverItIs) {
    for (char const special : {'"', '\\', '\n', '\x1f'}) {
        for (std::size_t size = 1; size <= 80; ++size) {
            for (std::size_t at = 0; at < size; ++at) {
                std::string text(size, at % 2 == 0 ? 'x' : ' ');
                text[at] = special;
                std::string out;
                append_json_string(out, text);
                ASSERT_EQ(fault_of(out), "") << size << ' ' << at;
                ASSERT_EQ(json_body_to_text(strip_quotes(out)), text) << size << ' ' << at;
            }
        }
    }
}

TEST(JsonBody, EveryByteSurvivesOrIsReplaced) {
    for (int byte = 0; byte < 256; ++byte) {
        std::string const text = "<" + std::string(1, static_cast<char>(byte)) + ">";
        std::string out;
        append_json_string(out, text);
        EXPECT_EQ(fault_of(out), "") << byte;
        EXPECT_EQ(json_body_to_text(strip_quotes(out)), byte < 0x80 ? text : "<\xEF\xBF\xBD>") << byte;
    }
}

TEST(JsonBody, Unescapes) {
    EXPECT_EQ(json_body_to_text(R"(a\"\\\/\b\f\n\r\tz)"), "a\"\\/\b\f\n\r\tz");
    EXPECT_EQ(json_body_to_text(R"(\u0041\u00e9\u20AC\ud83d\ude00\u0000)"), "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\0"s);
    EXPECT_EQ(json_body_to_text(R"(\ud800x\udc00\ud83d)"), "\xEF\xBF\xBDx\xEF\xBF\xBD\xEF\xBF\xBD");
    EXPECT_EQ(json_body_to_text(R"(\\ud800)"), "\\ud800") << "an escaped backslash, then plain text";
    EXPECT_EQ(json_body_to_text(""), "");
    EXPECT_EQ(json_body_to_text("\\"), "\xEF\xBF\xBD") << "no escape at all: replaced, never read past the end";
}

TEST(JsonBody, RepairReturnsAGoodBodyItself) {
    std::string storage;
    for (auto const body : {""sv, "plain"sv, R"(\ud83d\ude00 \\ud800 \n)"sv, "\xF0\x9F\x98\x80"sv}) {
        auto const repaired = repair_json_body(body, storage);
        EXPECT_EQ(repaired.data(), body.data());
        EXPECT_EQ(repaired, body);
        EXPECT_TRUE(storage.empty());
    }
}

TEST(JsonBody, RepairMakesAnythingSafe) {
    struct Case {
        std::string_view body, expected;
    };
    Case const cases[] = {
        {R"(a\ud83dz)", "a\xEF\xBF\xBDz"},
        {R"(\ude00\ud83d)", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {R"(\ud83d\ud83d\ude00)", R"(�\ud83d\ude00)"},
        {"a\xFF", "a\xEF\xBF\xBD"},
        {"\xE2\x82", "\xEF\xBF\xBD"},
        {"\xE2\x82\\n", "\xEF\xBF\xBD\\n"},
        {R"(\x)", "\xEF\xBF\xBDx"},
        {R"(\u12)", "\xEF\xBF\xBDu12"},
        {"\\", "\xEF\xBF\xBD"},
        {"a\nb\"c", R"(a\nb\"c)"},
    };
    for (auto const& c : cases) {
        std::string storage = "old";
        auto const repaired = repair_json_body(c.body, storage);
        EXPECT_EQ(repaired, c.expected) << c.body;
        EXPECT_EQ(fault_of("\"" + std::string(repaired) + "\""), "") << c.body;
    }
}

TEST(Utf8, ReplacesMaximalSubparts) {
    // Unicode 15, §3.9, tables 3-8 to 3-10.
    constexpr std::string_view r = "\xEF\xBF\xBD";
    auto const times = [&](std::size_t n) { return repeat(r, n); };
    EXPECT_EQ(repair_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), times(8) + "A");
    EXPECT_EQ(repair_utf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), times(8) + "A");
    EXPECT_EQ(repair_utf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), times(5) + "A" + times(2) + "B");
    EXPECT_EQ(repair_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), times(4) + "A");
    EXPECT_EQ(repair_utf8("ok \xF4\x8F\xBF\xBF"), "ok \xF4\x8F\xBF\xBF");
    EXPECT_FALSE(is_valid_utf8("\xF4\x90\x80\x80"));
    EXPECT_TRUE(is_valid_utf8("\xF4\x8F\xBF\xBF"));
    EXPECT_TRUE(is_valid_utf8(""));
}

TEST(JsonStrings, StripQuotes) {
    EXPECT_EQ(strip_quotes("\"ab\""), "ab");
    EXPECT_EQ(strip_quotes("\"\""), "");
    EXPECT_EQ(strip_quotes("\""), "");
}

} // namespace
} // namespace parley::core

// Which pages a tool's result names, in the forms that servers are known to answer in.
#include "mcp/result_sources.hpp"

#include <boost/json/parse.hpp>
#include <gtest/gtest.h>

#include <string>

#include "mcp/tool_reader.hpp"

namespace parley::mcp {
namespace {

std::vector<chat::ToolSource> sources_of(std::string_view result) {
    return read_call_result(boost::json::parse({result.data(), result.size()}).as_object(), 100'000).sources;
}

std::string in_short(std::vector<chat::ToolSource> const& sources) {
    std::string out;
    for (auto const& one : sources)
        out.append(one.title).append("|").append(one.url).append("|").append(one.text).append(";");
    return out;
}

TEST(ResultSources, AreLinksAndEmbeddedResources) {
    EXPECT_EQ(in_short(sources_of(R"({"content":[
        {"type":"resource_link","uri":"https://a.example/1","name":"n","title":"First","description":"about"},
        {"type":"resource","resource":{"uri":"http://b.example","text":"Second page"}},
        {"type":"resource_link","uri":"file:///etc/passwd","name":"no page"},
        {"type":"resource_link","uri":"javascript:alert(1);","name":"no page"},
        {"type":"resource_link","uri":"https://a.example/1","name":"again"}]
})")),
              "First|https://a.example/1|about;|http://b.example|Second page;");
}

TEST(ResultSources, AreWhatSearchServersWrite) {
    auto const expected = "Tides|https://t.example/a|The moon.;Moon|https://m.example|;";
    EXPECT_EQ(in_short(sources_of(R"({"content":[],"structuredContent":{"query":"tides","results":[
        {"title":"Tides","url":"https://t.example/a","snippet":"The moon."},{"name":"Moon","link":"https://m.example"}]}})")),
              expected);
    EXPECT_EQ(in_short(sources_of(
                  R"({"content":[{"type":"text","text":"[{\"title\":\"Tides\",\"url\":\"https://t.example/a\",)"
                  R"(\"content\":\"The moon.\"},{\"title\":\"Moon\",\"url\":\"https://m.example\"}]"}]})")),
              expected);
    EXPECT_EQ(in_short(sources_of(
                  R"({"content":[{"type":"text","text":"Title: Tides\nURL: https://t.example/a\nDescription: x\n\n)"
                  R"(Title: Moon\r\nLink: https://m.example\r\nURL: none"}]})")),
              "Tides|https://t.example/a|;Moon|https://m.example|;");
}

TEST(ResultSources, AreNoneInOrdinaryTextAndInFailures) {
    EXPECT_TRUE(sources_of(R"({"content":[{"type":"text","text":"see https://a.example"}]})").empty());
    EXPECT_TRUE(sources_of(R"({"content":[{"type":"text","text":"{\"url\":"}]})").empty());
    EXPECT_TRUE(sources_of(R"({"content":[{"type":"text","text":""}],"structuredContent":null})").empty());
    EXPECT_TRUE(
        sources_of(R"({"isError":true,"content":[{"type":"resource_link","uri":"https://a.example"}]})").empty());
}

TEST(ResultSources, AreBounded) {
    SourceFinder finder;
    for (int i = 0; i < 100; ++i)
        finder.read_text("Title: " + std::string(1000, 't') + "\nURL: https://e.example/" + std::to_string(i));
    ASSERT_EQ(finder.sources.size(), SourceFinder::kSourcesMax);
    EXPECT_EQ(finder.sources[0].title.size(), 300U);
    SourceFinder deep;
    deep.read_text(std::string(10, '[') + R"({"url":"https://e.example"})" + std::string(10, ']'));
    deep.read_text("URL: https://e.example/" + std::string(3000, 'x'));
    deep.read_text("URL: https://e.example/a b");
    EXPECT_TRUE(deep.sources.empty());
}

} // namespace
} // namespace parley::mcp

#include "mcp/result_sources.hpp"

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>

#include <algorithm>
#include <array>
#include <string>

#include "mcp/protocol.hpp"
#include "mcp/tool_reader.hpp"

namespace parley::mcp {
namespace {

namespace json = boost::json;
using namespace std::string_view_literals;

constexpr int kDepthMax = 6;
constexpr std::size_t kUrlBytesMax = 2048;
constexpr std::size_t kTitleBytesMax = 300;
constexpr std::size_t kTextBytesMax = 4 * 1024;
constexpr std::size_t kJsonBytesMax = 1024 * 1024; // of a text block that is tried as JSON

bool is_page(std::string_view url) {
    if (!url.starts_with("https://") && !url.starts_with("http://")) return false;
    auto const is_odd = [](char c) {
        return static_cast<unsigned char>(c) <= ' ' || c == 0x7f || c == '"' || c == '<' || c == '>';
    };
    return url.size() <= kUrlBytesMax && std::ranges::none_of(url, is_odd);
}

std::string cut(std::string_view text, std::size_t bytes_max) {
    return std::string(text.substr(0, character_start(text, bytes_max)));
}

template <std::size_t Count>
std::string_view first_of(json::object const& object, std::array<std::string_view, Count> const& keys) {
    for (auto const key : keys)
        if (auto const text = text_in(object, key); !text.empty()) return text;
    return {};
}

} // namespace

void SourceFinder::read_resource(json::object const& resource) {
    constexpr std::array titles{"title"sv, "name"sv};
    constexpr std::array texts{"text"sv, "description"sv};
    add(first_of(resource, titles), text_in(resource, "uri"), first_of(resource, texts));
}

void SourceFinder::read_json(json::value const& value, int depth) {
    if (depth > kDepthMax || sources.size() == kSourcesMax) return;
    if (auto const* const list = value.if_array()) {
        for (auto const& element : *list)
            read_json(element, depth + 1);
    } else if (auto const* const object = value.if_object()) {
        constexpr std::array urls{"url"sv, "link"sv, "uri"sv};
        constexpr std::array titles{"title"sv, "name"sv};
        constexpr std::array texts{"snippet"sv, "description"sv, "content"sv, "text"sv, "summary"sv};
        add(first_of(*object, titles), first_of(*object, urls), first_of(*object, texts));
        for (auto const& member : *object)
            read_json(member.value(), depth + 1);
    }
}

void SourceFinder::read_text(std::string_view text) {
    auto const begin = text.find_first_not_of(" \t\r\n");
    if (begin == std::string_view::npos) return;
    if ((text[begin] == '{' || text[begin] == '[') && text.size() <= kJsonBytesMax) {
        boost::system::error_code error;
        auto const value = json::parse({text.data(), text.size()}, error);
        if (!error) return read_json(value);
    }
    read_lines(text);
}

void SourceFinder::read_lines(std::string_view text) {
    constexpr std::array marks{"URL: "sv, "Url: "sv, "url: "sv, "Link: "sv};
    std::string_view title;
    while (!text.empty() && sources.size() < kSourcesMax) {
        auto const end = std::min(text.find('\n'), text.size());
        auto line = text.substr(0, end);
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.starts_with("Title: ")) title = line.substr(7);
        for (auto const mark : marks) {
            if (!line.starts_with(mark)) continue;
            add(title, line.substr(mark.size()), {});
            title = {};
            break;
        }
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

void SourceFinder::add(std::string_view title, std::string_view url, std::string_view text) {
    if (!is_page(url) || sources.size() == kSourcesMax) return;
    if (std::ranges::find(sources, url, &chat::ToolSource::url) != sources.end()) return;
    sources.push_back({cut(title, kTitleBytesMax), std::string(url), cut(text, kTextBytesMax)});
}

} // namespace parley::mcp

// simdjson's on-demand reader, used for one level at a time: its slices are mapped back to the caller's own text,
// so that a nested value can be sliced by the same reader. Owned by one encoder or decoder, runs on its loop.
#include "providers/json_text.hpp"

#include <charconv>
#include <cmath>

namespace parley::providers {

namespace {

constexpr std::size_t kFirstCapacity = 256; // bytes; grows with the text. Keeps an idle stream small.
constexpr std::size_t kDepthMax = 8;        // only one level is ever entered; simdjson's default costs 9 KiB

core::Error invalid(simdjson::error_code code) {
    return core::make_error(core::Errc::kInvalidJson, simdjson::error_message(code));
}

std::string_view trimmed(std::string_view text) noexcept {
    constexpr std::string_view kSpace = " \t\r\n";
    std::size_t const first = text.find_first_not_of(kSpace);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

/// The body of the string whose first byte after the quote is `start`. Stage 1 has seen its closing quote.
std::string_view name_body(char const* start) noexcept {
    char const* end = start;
    while (*end != '"')
        end += *end == '\\' ? 2 : 1;
    return {start, static_cast<std::size_t>(end - start)};
}

/// document::at_end() came after simdjson 3.0.1.
bool has_more(simdjson::ondemand::document& document) noexcept {
    return document.current_location().error() == simdjson::SUCCESS;
}

} // namespace

std::string_view find_member(JsonMembers const& members, std::string_view name) noexcept {
    for (auto const& member : members) {
        if (member.name == name) return member.json == "null" ? std::string_view{} : member.json;
    }
    return {};
}

core::Result<simdjson::ondemand::document> JsonSlicer::open(std::string_view text) {
    if (parser_.capacity() == 0) {
        if (auto const error = parser_.allocate(kFirstCapacity, kDepthMax)) return invalid(error);
    }
    current_ = text;
    padded_.assign(text);
    padded_.append(simdjson::SIMDJSON_PADDING, '\0');
    simdjson::ondemand::document document;
    auto const error = parser_.iterate(padded_.data(), text.size(), padded_.size()).get(document);
    if (error) return invalid(error);
    return document;
}

std::string_view JsonSlicer::original(std::string_view slice) const noexcept {
    std::string_view const found = trimmed(slice);
    if (found.empty()) return {};
    return current_.substr(static_cast<std::size_t>(found.data() - padded_.data()), found.size());
}

core::Result<JsonMembers> JsonSlicer::members(std::string_view object) {
    auto document = open(object);
    if (!document) return document.error();
    simdjson::ondemand::object members;
    if (auto const error = document->get_object().get(members)) return invalid(error);

    JsonMembers found;
    for (auto member : members) {
        simdjson::ondemand::raw_json_string name;
        simdjson::ondemand::value value;
        std::string_view json;
        if (auto const error = member.key().get(name)) return invalid(error);
        if (auto const error = member.value().get(value)) return invalid(error);
        if (auto const error = simdjson::to_json_string(value).get(json)) return invalid(error);
        found.push_back({original(name_body(name.raw())), original(json)});
    }
    if (has_more(*document)) return invalid(simdjson::TRAILING_CONTENT);
    return found;
}

core::Result<JsonElements> JsonSlicer::elements(std::string_view array) {
    auto document = open(array);
    if (!document) return document.error();
    simdjson::ondemand::array elements;
    if (auto const error = document->get_array().get(elements)) return invalid(error);

    JsonElements found;
    for (auto element : elements) {
        simdjson::ondemand::value value;
        std::string_view json;
        if (auto const error = element.get(value)) return invalid(error);
        if (auto const error = simdjson::to_json_string(value).get(json)) return invalid(error);
        found.push_back(original(json));
    }
    if (has_more(*document)) return invalid(simdjson::TRAILING_CONTENT);
    return found;
}

bool is_empty_json(std::string_view json) noexcept {
    if (json.empty() || json == "null") return true;
    bool const bracketed = is_string(json) || is_object(json) || is_array(json);
    return bracketed && trimmed(json.substr(1, json.size() - 2)).empty() && !(is_string(json) && json.size() > 2);
}

std::optional<std::int64_t> read_integer(std::string_view json) noexcept {
    char const* const end = json.data() + json.size();
    std::int64_t whole = 0;
    auto const [stop, error] = std::from_chars(json.data(), end, whole);
    if (error == std::errc{} && stop == end) return whole;
    double number = 0;
    auto const [number_stop, number_error] = std::from_chars(json.data(), end, number);
    if (number_error != std::errc{} || number_stop != end) return std::nullopt;
    constexpr double kExact = 9007199254740992.0; // 2^53
    if (!(std::abs(number) <= kExact) || number != std::trunc(number)) return std::nullopt;
    return static_cast<std::int64_t>(number);
}

} // namespace parley::providers

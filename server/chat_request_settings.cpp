// The other top-level fields of a chat request: type and bounds (OpenAI spec, CreateChatCompletionRequest).
// Runs inside parse_chat_request.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <list>
#include <string>
#include <string_view>

#include "chat/setting_bounds.hpp"
#include "server/chat_request_parts.hpp"
#include "server/chat_request_walk.hpp"

namespace parley::server {
namespace {

using core::Result;
using Made = std::list<std::string>;

constexpr std::string_view kResponseFormats[] = {"text", "json_object", "json_schema"};

// Takes whole numbers in any spelling, but keeps the plain one: not every provider reads 1e2.
Result<std::string_view> plain_integer(Path const& path, Slice value, Made& made, std::int64_t min, std::int64_t max) {
    auto const integer = read_integer(path, value.json, min, max);
    if (!integer) return integer.error();
    if (value.json.find_first_of(".eE") == value.json.npos) return value.json;
    return std::string_view(made.emplace_back(fmt::format("{}", *integer)));
}

Result<> check_boolean(Path const& path, std::string_view json) {
    auto const flag = read_boolean(path, json);
    return flag ? Result<>{} : flag.error();
}

Result<> check_within(Path const& path, std::string_view json, chat::NumberBounds bounds) {
    return check_number(path, json, bounds.min, bounds.max);
}

Result<> check_stop(Path const& path, Slice value) {
    constexpr std::size_t count_max = 4;
    constexpr Lengths lengths{1, 1024}; // an own bound: a stop is compared with every token
    if (is_string(value.json)) return check_string(path, value.json, lengths);
    if (!is_array(value.json)) return invalid_type(path, "one of a string or array of strings", value.json);
    Walk walk(value);
    auto const array = walk.array();
    if (!array) return array.error();
    return Walk::elements(*array, [&](std::size_t index, od::value& element) -> Result<> {
        if (index == count_max) return invalid_value(path, fmt::format("expected at most {} strings", count_max));
        return check_string(Path{&path, {}, index}, Walk::take(element), lengths);
    });
}

Result<> check_strings(Path const& path, Slice value) {
    if (!is_array(value.json)) return invalid_type(path, "an array of strings", value.json);
    Walk walk(value);
    auto const array = walk.array();
    if (!array) return array.error();
    return Walk::elements(*array, [&](std::size_t index, od::value& element) {
        return check_string(Path{&path, {}, index}, Walk::take(element));
    });
}

Result<> check_logit_bias(Path const& path, Slice value) {
    if (!is_object(value.json)) return invalid_type(path, "an object", value.json);
    Walk walk(value);
    auto const object = walk.object();
    if (!object) return object.error();
    return Walk::members(*object, [&](std::string_view key, od::value& member) {
        return check_within(Path{&path, key}, Walk::take(member), chat::kLogitBias);
    });
}

Result<> check_metadata(Path const& path, Slice value) {
    constexpr std::size_t pairs_max = 16;
    constexpr std::size_t key_max = 64;
    if (!is_object(value.json)) return invalid_type(path, "an object", value.json);
    Walk walk(value);
    auto const object = walk.object();
    if (!object) return object.error();
    std::size_t count = 0;
    return Walk::members(*object, [&](std::string_view key, od::value& member) -> Result<> {
        if (++count > pairs_max) return invalid_value(path, fmt::format("expected at most {} pairs", pairs_max));
        if (character_count(key) > key_max) {
            return invalid_value(path, fmt::format("expected keys of at most {} characters", key_max));
        }
        return check_string(Path{&path, key}, Walk::take(member), {0, 512});
    });
}

Result<> check_json_schema(Path const& path, od::value& value) {
    auto const token = trim_end(value.raw_json_token());
    od::object object;
    if (!is_object(token) || value.get_object().get(object)) return invalid_type(path, "an object", token);
    bool named = false;
    auto const visited = Walk::members(object, [&](std::string_view key, od::value& member) -> Result<> {
        Path const inner{&path, key};
        auto const json = Walk::take(member);
        if (key == "name") {
            named = true;
            return check_name(inner, json);
        }
        if (is_null(json)) return {};
        if (key == "description") return check_string(inner, json);
        if (key == "schema") return check_object(inner, json);
        return key == "strict" ? check_boolean(inner, json) : Result<>{};
    });
    if (!visited) return visited;
    return named ? Result<>{} : missing_parameter(Path{&path, "name"});
}

Result<> check_response_format(Path const& path, Slice value) {
    if (!is_object(value.json)) return invalid_type(path, "an object", value.json);
    Walk walk(value);
    auto const object = walk.object();
    if (!object) return object.error();
    std::string type;
    bool has_schema = false;
    auto const visited = Walk::members(*object, [&](std::string_view key, od::value& member) -> Result<> {
        Path const inner{&path, key};
        if (key == "json_schema") {
            has_schema = true;
            return check_json_schema(inner, member);
        }
        if (key != "type") return {};
        auto const json = Walk::take(member);
        if (auto const checked = check_choice(inner, json, kResponseFormats); !checked) return checked;
        type = string_text(json);
        return {};
    });
    if (!visited) return visited;
    if (type.empty()) return missing_parameter(Path{&path, "type"});
    return type == "json_schema" && !has_schema ? missing_parameter(Path{&path, "json_schema"}) : Result<>{};
}

// Open WebUI's pipelines send an object.
Result<> check_user(Path const& path, Slice value) {
    if (is_string(value.json) || is_object(value.json)) return {};
    return invalid_type(path, "one of a string or object", value.json);
}

struct Field {
    std::string_view name;
    Result<> (*check)(Path const& path, Slice value);
};

constexpr auto check_any_object = [](Path const& path, Slice value) { return check_object(path, value.json); };
constexpr auto check_any_string = [](Path const& path, Slice value) { return check_string(path, value.json); };
constexpr auto check_flag = [](Path const& path, Slice value) { return check_boolean(path, value.json); };
constexpr auto check_penalty = [](Path const& path, Slice value) {
    return check_within(path, value.json, chat::kPenalty);
};

// service_tier and prompt_cache_retention are checked for type only: providers have values of their own.
constexpr Field kFields[] = {
    {"audio", check_any_object},
    {"frequency_penalty", check_penalty},
    {"logit_bias", check_logit_bias},
    {"logprobs", check_flag},
    {"metadata", check_metadata},
    {"modalities", check_strings},
    {"parallel_tool_calls", check_flag},
    {"prediction", check_any_object},
    {"presence_penalty", check_penalty},
    {"prompt_cache_key", check_any_string},
    {"prompt_cache_options", check_any_object},
    {"prompt_cache_retention", check_any_string},
    {"reasoning_effort",
     [](Path const& path, Slice value) { return check_choice(path, value.json, chat::kReasoningEfforts); }},
    {"response_format", check_response_format},
    {"safety_identifier", [](Path const& path, Slice value) { return check_string(path, value.json, {0, 64}); }},
    {"service_tier", check_any_string},
    {"stop", check_stop},
    {"store", check_flag},
    {"temperature", [](Path const& path, Slice value) { return check_within(path, value.json, chat::kTemperature); }},
    {"top_p", [](Path const& path, Slice value) { return check_within(path, value.json, chat::kTopP); }},
    {"user", check_user},
    {"verbosity", [](Path const& path, Slice value) { return check_choice(path, value.json, chat::kVerbosities); }},
    {"web_search_options", check_any_object},
};

} // namespace

Result<std::string_view> check_setting(std::string_view name, Slice value, Made& made) {
    auto const named = [&](auto const& field) { return field.name == name; };
    auto const* const integer = std::find_if(chat::kIntegerSettings.begin(), chat::kIntegerSettings.end(), named);
    auto const* const field = std::find_if(std::begin(kFields), std::end(kFields), named);
    bool const is_integer = integer != chat::kIntegerSettings.end();
    if (!is_integer && field == std::end(kFields)) return value.json;
    if (is_null(value.json)) return std::string_view{};
    Path const path{nullptr, name};
    if (is_integer) return plain_integer(path, value, made, integer->min, integer->max);
    if (auto const checked = field->check(path, value); !checked) return checked.error();
    return value.json;
}

} // namespace parley::server

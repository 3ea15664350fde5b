// The client's tools and tool_choice, and their deprecated forms functions and function_call (OpenAI spec,
// ChatCompletionTool, ChatCompletionToolChoiceOption). Runs inside parse_chat_request.
#include <fmt/format.h>

#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "server/chat_request_parts.hpp"
#include "server/chat_request_walk.hpp"

namespace parley::server {
namespace {

using core::Result;

constexpr std::string_view kToolTypes[] = {"function", "custom"};
constexpr std::string_view kModes[] = {"none", "auto", "required"};
constexpr std::string_view kChoiceTypes[] = {"function", "custom", "allowed_tools"};
constexpr std::string_view kAllowedModes[] = {"auto", "required"};
constexpr std::string_view kFunctionModes[] = {"none", "auto"};
constexpr std::string_view kFormats[] = {"text", "grammar"};

// What an object with a `type` and a payload of that name was seen to have; empty = absent.
struct Tagged {
    std::string_view type;
    std::string_view function, custom, allowed_tools; // the first token of each

    std::string_view* payload(std::string_view key) noexcept {
        if (key == "function") return &function;
        if (key == "custom") return &custom;
        return key == "allowed_tools" ? &allowed_tools : nullptr;
    }
};

Result<> check_format(Path const& path, od::value& value) {
    auto const token = trim_end(value.raw_json_token());
    if (is_null(token)) return {};
    od::object object;
    if (!is_object(token) || value.get_object().get(object)) return invalid_type(path, "an object", token);
    return Walk::members(object, [&](std::string_view key, od::value& member) -> Result<> {
        return key == "type" ? check_choice(Path{&path, key}, Walk::take(member), kFormats) : Result<>{};
    });
}

// `function` or `custom` of a tool, a tool_choice, or an element of `functions`.
Result<> check_definition(Path const& path, od::value& value) {
    auto const token = trim_end(value.raw_json_token());
    od::object object;
    if (!is_object(token) || value.get_object().get(object)) return invalid_type(path, "an object", token);
    bool named = false;
    auto const visited = Walk::members(object, [&](std::string_view key, od::value& member) -> Result<> {
        Path const inner{&path, key};
        if (key == "format") return check_format(inner, member);
        auto const json = Walk::take(member);
        if (key == "name") {
            if (named) return duplicate_key(inner);
            named = true;
            return check_name(inner, json);
        }
        if (is_null(json)) return {};
        if (key == "description") return check_string(inner, json);
        if (key == "parameters") return check_object(inner, json);
        if (key == "strict") {
            auto const flag = read_boolean(inner, json);
            return flag ? Result<>{} : flag.error();
        }
        return {};
    });
    if (!visited) return visited;
    return named ? Result<>{} : missing_parameter(Path{&path, "name"});
}

Result<> check_allowed_tools(Path const& path, od::value& value) {
    auto const token = trim_end(value.raw_json_token());
    od::object object;
    if (!is_object(token) || value.get_object().get(object)) return invalid_type(path, "an object", token);
    bool has_mode = false;
    bool has_tools = false;
    auto const visited = Walk::members(object, [&](std::string_view key, od::value& member) -> Result<> {
        Path const inner{&path, key};
        if (key == "mode") {
            if (std::exchange(has_mode, true)) return duplicate_key(inner);
            return check_choice(inner, Walk::take(member), kAllowedModes);
        }
        if (key != "tools") return {};
        if (std::exchange(has_tools, true)) return duplicate_key(inner);
        auto const start = trim_end(member.raw_json_token());
        od::array tools;
        if (!is_array(start) || member.get_array().get(tools)) return invalid_type(inner, "an array of objects", start);
        return Walk::elements(tools, [&](std::size_t index, od::value& tool) {
            return check_object(Path{&inner, {}, index}, Walk::take(tool));
        });
    });
    if (!visited) return visited;
    if (!has_mode) return missing_parameter(Path{&path, "mode"});
    return has_tools ? Result<>{} : missing_parameter(Path{&path, "tools"});
}

Result<> check_tagged(Path const& path, od::object object, std::span<std::string_view const> types) {
    Tagged seen;
    auto const visited = Walk::members(object, [&](std::string_view key, od::value& member) -> Result<> {
        Path const inner{&path, key};
        if (key == "type") {
            if (!seen.type.empty()) return duplicate_key(inner);
            seen.type = Walk::take(member);
            return {};
        }
        auto* const payload = seen.payload(key);
        if (payload == nullptr) return {};
        if (!payload->empty()) return duplicate_key(inner);
        *payload = trim_end(member.raw_json_token());
        return key == "allowed_tools" ? check_allowed_tools(inner, member) : check_definition(inner, member);
    });
    if (!visited) return visited;
    Path const type{&path, "type"};
    if (seen.type.empty()) return missing_parameter(type);
    if (auto const checked = check_choice(type, seen.type, types); !checked) return checked;
    auto const name = string_text(seen.type);
    return seen.payload(name)->empty() ? missing_parameter(Path{&path, name}) : Result<>{};
}

Result<> too_many(Path const& path, std::size_t max) {
    return invalid_value(path, fmt::format("expected at most {} of them", max));
}

} // namespace

Result<bool> check_tools(Slice tools, RequestLimits const& limits) {
    Path const root{nullptr, "tools"};
    if (!is_array(tools.json)) return invalid_type(root, "an array of objects", tools.json);
    Walk walk(tools);
    auto const array = walk.array();
    if (!array) return array.error();
    std::size_t count = 0;
    auto const visited = Walk::elements(*array, [&](std::size_t index, od::value& tool) -> Result<> {
        if (++count > limits.tools_max) return too_many(root, limits.tools_max);
        Path const path{&root, {}, index};
        auto const token = trim_end(tool.raw_json_token());
        od::object object;
        if (!is_object(token) || tool.get_object().get(object)) return invalid_type(path, "an object", token);
        return check_tagged(path, object, kToolTypes);
    });
    if (!visited) return visited.error();
    return count != 0;
}

Result<> check_tool_choice(Slice tool_choice) {
    Path const root{nullptr, "tool_choice"};
    if (is_string(tool_choice.json)) return check_choice(root, tool_choice.json, kModes);
    if (!is_object(tool_choice.json)) return invalid_type(root, "one of a string or object", tool_choice.json);
    Walk walk(tool_choice);
    auto const object = walk.object();
    if (!object) return object.error();
    return check_tagged(root, *object, kChoiceTypes);
}

Result<std::string> tools_from_functions(Slice functions, RequestLimits const& limits) {
    Path const root{nullptr, "functions"};
    if (!is_array(functions.json)) return invalid_type(root, "an array of objects", functions.json);
    Walk walk(functions);
    auto const array = walk.array();
    if (!array) return array.error();
    std::string tools;
    auto const visited = Walk::elements(*array, [&](std::size_t index, od::value& function) -> Result<> {
        if (index == limits.tools_max) return too_many(root, limits.tools_max);
        auto const begin = function.raw_json_token().data();
        if (auto const checked = check_definition(Path{&root, {}, index}, function); !checked) return checked;
        tools.append(index == 0 ? "[" : ",").append(R"({"type":"function","function":)");
        tools.append(walk.slice_from(begin)).append("}");
        return {};
    });
    if (!visited) return visited.error();
    if (!tools.empty()) tools += ']';
    return tools;
}

Result<std::string> tool_choice_from_function_call(Slice function_call) {
    Path const root{nullptr, "function_call"};
    if (is_string(function_call.json)) {
        if (auto const checked = check_choice(root, function_call.json, kFunctionModes); !checked) {
            return checked.error();
        }
        return std::string(function_call.json);
    }
    if (!is_object(function_call.json)) return invalid_type(root, "one of a string or object", function_call.json);
    Walk walk(function_call);
    auto const object = walk.object();
    if (!object) return object.error();
    std::string_view name;
    auto const visited = Walk::members(*object, [&](std::string_view key, od::value& member) -> Result<> {
        if (key != "name") return {};
        if (!name.empty()) return duplicate_key(Path{&root, key});
        name = Walk::take(member);
        return check_name(Path{&root, key}, name);
    });
    if (!visited) return visited.error();
    if (name.empty()) return missing_parameter(Path{&root, "name"});
    return fmt::format(R"({{"type":"function","function":{{"name":{}}}}})", name);
}

} // namespace parley::server

// Tools are flat in the Responses API, and nested under `function` in chat completions.
// Pure; the agent's own run once per configuration, the client's on the loop of the request.
#include <fmt/format.h>

#include "core/json.hpp"
#include "providers/responses_settings.hpp"

namespace parley::providers {

namespace {

core::Result<> append_tool(std::string& out, JsonSlicer& slicer, std::string_view json, std::string const& param) {
    auto members = slicer.members(json);
    if (!members) return members.error();
    std::string_view const type = string_body(find_member(*members, "type"));
    if (type != "function") {
        return core::make_error(
            core::Errc::kUnsupportedValue,
            fmt::format("Tools of type '{}' cannot be sent here. Possible: function.", core::json_body_to_text(type)),
            param + ".type");
    }
    if (auto const nested = find_member(*members, "function"); is_object(nested)) {
        members = slicer.members(nested);
        if (!members) return members.error();
    }
    std::string_view const description = find_member(*members, "description");
    std::string_view const parameters = find_member(*members, "parameters");
    std::string_view const strict = find_member(*members, "strict");

    ObjectText tool(out);
    tool.text("type", "function");
    tool.body("name", string_body(find_member(*members, "name")));
    if (!description.empty()) tool.raw("description", description);
    tool.raw("parameters", parameters.empty() ? R"({"type":"object","properties":{}})" : parameters);
    tool.raw("strict", strict.empty() ? "false" : strict);
    tool.close();
    return {};
}

core::Result<std::string> flat_reference(JsonSlicer& slicer, std::string_view json) {
    auto const members = slicer.members(json);
    if (!members) return members.error();
    std::string_view const type = string_body(find_member(*members, "type"));
    std::string_view const nested = find_member(*members, type);
    if (type.empty() || !is_object(nested)) return std::string(json); // flat already
    auto const named = slicer.members(nested);
    if (!named) return named.error();
    std::string flat;
    ObjectText reference(flat);
    reference.body("type", type);
    reference.body("name", string_body(find_member(*named, "name")));
    reference.close();
    return flat;
}

} // namespace

core::Result<std::string> responses_tools(std::string_view chat_tools) {
    std::string out;
    if (is_empty_json(chat_tools)) return out;
    JsonSlicer slicer;
    auto const tools = slicer.elements(chat_tools);
    if (!tools) return tools.error();
    for (std::size_t i = 0; i < tools->size(); ++i) {
        if (i > 0) out += ',';
        auto const appended = append_tool(out, slicer, (*tools)[i], fmt::format("tools[{}]", i));
        if (!appended) return appended.error();
    }
    return out;
}

core::Result<std::string> responses_tool_choice(std::string_view chat_choice) {
    if (!is_object(chat_choice)) return std::string(chat_choice);
    JsonSlicer slicer;
    auto const members = slicer.members(chat_choice);
    if (!members) return members.error();
    std::string_view const nested = find_member(*members, "allowed_tools");
    if (nested.empty()) return flat_reference(slicer, chat_choice);

    auto const allowed = slicer.members(nested);
    if (!allowed) return allowed.error();
    auto const tools = slicer.elements(find_member(*allowed, "tools"));
    if (!tools) return tools.error();
    std::string out;
    ObjectText choice(out);
    choice.text("type", "allowed_tools");
    choice.body("mode", string_body(find_member(*allowed, "mode")));
    choice.name("tools") += '[';
    for (std::string_view const tool : *tools) {
        auto const flat = flat_reference(slicer, tool);
        if (!flat) return flat.error();
        if (!out.ends_with('[')) out += ',';
        out += *flat;
    }
    out += ']';
    choice.close();
    return out;
}

} // namespace parley::providers

// Reads a turn for the demo model. It looks at all of the text, which other providers never do: that is its purpose.
// Pure; runs on the loop of the request.
#include "providers/demo_scene.hpp"

#include <algorithm>
#include <utility>

#include "core/json.hpp"
#include "providers/json_text.hpp"

namespace parley::providers {

namespace {

/// The text of a message's content; parts that are not text are counted.
std::string text_of(JsonSlicer& slicer, std::string_view content, std::size_t& attachments) {
    if (is_string(content)) return core::json_body_to_text(string_body(content));
    std::string text;
    if (!is_array(content)) return text;
    auto const parts = slicer.elements(content);
    if (!parts) return text;
    for (std::string_view const part : *parts) {
        auto const members = slicer.members(part);
        if (!members) continue;
        std::string_view const type = string_body(find_member(*members, "type"));
        if (type != "text" && type != "refusal") {
            ++attachments;
            continue;
        }
        if (!text.empty()) text += '\n';
        text += core::json_body_to_text(string_body(find_member(*members, type)));
    }
    return text;
}

/// The name in {"type":"function","function":{"name":…}}, in a tool, a tool call or a tool_choice.
std::string function_name(JsonSlicer& slicer, std::string_view json) {
    auto const members = slicer.members(json);
    if (!members) return {};
    auto const function = slicer.members(find_member(*members, "function"));
    return function ? core::json_body_to_text(string_body(find_member(*function, "name"))) : std::string{};
}

} // namespace

DemoScene::DemoScene(ModelSpec const& spec, chat::Turn const& turn)
    : model(spec.model), system_prompt_bytes(spec.system_prompt.size()), defaults(default_settings(spec.settings)) {
    settings = merge_settings(defaults, turn.settings);
    read_messages(turn);
    if (turn.tool_choice != R"("none")") {
        read_tools(spec.tools);
        read_tools(turn.tools);
        read_tool_choice(turn.tool_choice);
    }
    prompt_bytes += spec.system_prompt.size() + spec.tools.size() + turn.tools.size();
}

void DemoScene::read_messages(chat::Turn const& turn) {
    JsonSlicer slicer;
    std::vector<std::pair<std::string, std::string>> calls; // id body and name
    for (auto const& message : turn.messages) {
        Said said{message.role, text_of(slicer, message.content, attachments), {}};
        prompt_bytes += message.content.size();
        auto const members = slicer.members(message.json);
        if (members && message.role == chat::Role::kAssistant) {
            auto const list = slicer.elements(find_member(*members, "tool_calls"));
            for (std::string_view const call : list ? *list : JsonElements{}) {
                auto const call_members = slicer.members(call);
                if (!call_members) continue;
                calls.emplace_back(string_body(find_member(*call_members, "id")), function_name(slicer, call));
            }
        } else if (members && message.role == chat::Role::kTool) {
            std::string_view const id = string_body(find_member(*members, "tool_call_id"));
            auto const call = std::find_if(calls.rbegin(), calls.rend(), [id](auto const& c) { return c.first == id; });
            if (call != calls.rend()) said.name = call->second;
        }
        messages.push_back(std::move(said));
    }
}

void DemoScene::read_tools(std::string_view list) {
    if (is_empty_json(list)) return;
    JsonSlicer slicer;
    auto const elements = slicer.elements(list);
    if (!elements) return;
    for (std::string_view const tool : *elements) {
        std::string name = function_name(slicer, tool);
        if (!name.empty()) tools.push_back(std::move(name));
    }
}

void DemoScene::read_tool_choice(std::string_view tool_choice) {
    if (tool_choice == R"("required")" && !tools.empty()) forced = tools.front();
    if (!is_object(tool_choice)) return;
    JsonSlicer slicer;
    std::string name = function_name(slicer, tool_choice);
    if (std::find(tools.begin(), tools.end(), name) != tools.end()) forced = std::move(name);
}

std::string_view DemoScene::setting(std::string_view meaning) const noexcept {
    auto const found = std::find_if(settings.rbegin(), settings.rend(),
                                    [meaning](auto const& s) { return setting_meaning(s.name) == meaning; });
    return found == settings.rend() ? std::string_view{} : found->json;
}

std::string_view DemoScene::last_user_text() const noexcept {
    auto const found = std::find_if(messages.rbegin(), messages.rend(),
                                    [](Said const& said) { return said.role == chat::Role::kUser; });
    return found == messages.rend() ? std::string_view{} : found->text;
}

bool DemoScene::after_tools() const noexcept {
    return !messages.empty() &&
           (messages.back().role == chat::Role::kTool || messages.back().role == chat::Role::kFunction);
}

} // namespace parley::providers

#include "server/open_webui.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>

#include "core/json.hpp"
#include "core/json_tree.hpp"
#include "server/tool_display.hpp"

namespace parley::server {
namespace {

namespace json = boost::json;
using namespace std::string_view_literals;

// Its built-in functions, as they ride on every turn of its browser page (0.12.4; older ones had fewer). Sorted.
constexpr std::array kBuiltIn{"add_memory"sv,
                              "ask_user"sv,
                              "calculate_timestamp"sv,
                              "create_automation"sv,
                              "create_calendar_event"sv,
                              "create_skill"sv,
                              "create_tasks"sv,
                              "delegate_task"sv,
                              "delete_automation"sv,
                              "delete_calendar_event"sv,
                              "delete_memory"sv,
                              "edit_image"sv,
                              "execute_code"sv,
                              "fetch_url"sv,
                              "generate_image"sv,
                              "get_current_timestamp"sv,
                              "grep_chat_files"sv,
                              "grep_knowledge_files"sv,
                              "grep_skill_files"sv,
                              "kb_exec"sv,
                              "list_automations"sv,
                              "list_chat_files"sv,
                              "list_knowledge"sv,
                              "list_knowledge_bases"sv,
                              "list_memories"sv,
                              "list_memory_paths"sv,
                              "notify"sv,
                              "play_animation"sv,
                              "query_chat_files"sv,
                              "query_knowledge_bases"sv,
                              "query_knowledge_files"sv,
                              "read_memory_path"sv,
                              "read_skill_file"sv,
                              "replace_memory_content"sv,
                              "replace_note_content"sv,
                              "search_calendar_events"sv,
                              "search_channel_messages"sv,
                              "search_channels"sv,
                              "search_chats"sv,
                              "search_knowledge_bases"sv,
                              "search_knowledge_files"sv,
                              "search_memories"sv,
                              "search_notes"sv,
                              "search_tools"sv,
                              "search_web"sv,
                              "timer"sv,
                              "toggle_automation"sv,
                              "update_automation"sv,
                              "update_calendar_event"sv,
                              "update_memory"sv,
                              "update_skill_files"sv,
                              "update_task"sv,
                              "view_channel_message"sv,
                              "view_channel_thread"sv,
                              "view_chat"sv,
                              "view_file"sv,
                              "view_knowledge_file"sv,
                              "view_note"sv,
                              "view_skill"sv,
                              "write_note"sv};
static_assert(std::ranges::is_sorted(kBuiltIn));

bool is_built_in(json::value const& tool) {
    auto const* const object = tool.if_object();
    auto const* const function = object != nullptr ? object->if_contains("function") : nullptr;
    auto const* const called = function != nullptr ? function->if_object() : nullptr;
    auto const* const name = called != nullptr ? called->if_contains("name") : nullptr;
    if (name == nullptr || !name->is_string()) return false;
    return std::ranges::binary_search(kBuiltIn, std::string_view(name->get_string().data(), name->get_string().size()));
}

void append_body(std::string& out, std::string_view text, std::size_t bytes_max) {
    out += '"';
    append_cut_body(out, text, bytes_max);
    out += '"';
}

} // namespace

bool is_open_webui(net::RequestHead const& head) noexcept {
    constexpr std::array names{"x-openwebui-chat-id"sv, "x-openwebui-user-id"sv, "x-openwebui-user-jwt"sv};
    return std::ranges::any_of(names, [&](std::string_view name) { return !head.get(name).empty(); });
}

bool is_open_webui_chat(net::RequestHead const& head) noexcept {
    return !head.get("x-openwebui-chat-id").empty() && head.get("x-openwebui-task").empty();
}

std::optional<std::string> without_built_in_tools(std::string_view tools) {
    auto list = core::json_tree(tools);
    if (!list || !list->is_array()) return std::nullopt;
    json::array kept;
    for (auto& tool : list->get_array())
        if (!is_built_in(tool)) kept.push_back(std::move(tool));
    if (kept.size() == list->get_array().size()) return std::nullopt;
    return kept.empty() ? std::string() : json::serialize(kept);
}

void append_status(std::string& out, std::string_view description, bool done) {
    out += R"(data: {"event":{"type":"status","data":{"description":)";
    append_body(out, description, kShownMessageBytesMax);
    out += done ? R"(,"done":true}}})" : R"(,"done":false}}})";
    out += "\n\n";
}

void append_source(std::string& out, chat::ToolSource const& source) {
    auto const& name = source.title.empty() ? source.url : source.title;
    out += R"(data: {"event":{"type":"source","data":{"source":{"name":)";
    append_body(out, name, kShownMessageBytesMax);
    out += R"(,"url":)";
    core::append_json_string(out, source.url);
    out += R"(},"document":[)";
    append_body(out, source.text.empty() ? name : source.text, kShownEventBytesMax);
    out += R"(],"metadata":[{"source":)";
    core::append_json_string(out, source.url);
    out += R"(,"name":)";
    append_body(out, name, kShownMessageBytesMax);
    out += "}]}}}\n\n";
}

void append_image(std::string& out, chat::ToolImage const& image) {
    constexpr std::array kinds{"image/gif"sv, "image/jpeg"sv, "image/png"sv, "image/webp"sv};
    auto const is_base64 = [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/' ||
               c == '=';
    };
    if (std::ranges::find(kinds, image.mime_type) == kinds.end() || image.base64.size() > kShownImageBytesMax) return;
    if (image.base64.empty() || !std::ranges::all_of(image.base64, is_base64)) return;
    out += R"(data: {"event":{"type":"files","data":{"files":[{"type":"image","url":"data:)";
    out.append(image.mime_type).append(";base64,").append(image.base64);
    out += "\"}]}}}\n\n";
}

} // namespace parley::server

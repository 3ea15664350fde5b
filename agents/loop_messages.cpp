#include "agents/loop_messages.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>

#include "core/json.hpp"
#include "core/json_tree.hpp"

namespace parley::agents {
namespace {

namespace json = boost::json;

constexpr std::string_view kRoleKey = R"({"role":)";

LoopMessage begun(chat::Role role) {
    LoopMessage message;
    message.role = role;
    message.json = kRoleKey;
    core::append_json_string(message.json, chat::role_name(role));
    message.json += ',';
    return message;
}

void append_body(std::string& out, std::string_view body) {
    out += '"';
    out += body;
    out += '"';
}

void close_content(LoopMessage& message) {
    message.content_bytes = message.json.size() - message.content_at;
}

void open_content(LoopMessage& message) {
    message.json += R"("content":)";
    message.content_at = message.json.size();
}

// Appends the text of `more` to that of `to`, and takes over what is new in it (a signature comes last).
void join(json::object& to, json::object const& more) {
    for (auto const& member : more) {
        auto const is_text = member.key() == "text" || member.key() == "summary" || member.key() == "data";
        auto* const known = to.if_contains(member.key());
        if (is_text && known != nullptr && known->is_string() && member.value().is_string()) {
            known->get_string() += member.value().get_string();
        } else if (known == nullptr || known->is_null()) {
            to[member.key()] = member.value();
        }
    }
}

bool continues(json::object const& last, json::object const& next) {
    auto const same = [&](std::string_view key) {
        auto const* const a = last.if_contains(key);
        auto const* const b = next.if_contains(key);
        return a == nullptr || b == nullptr ? a == b : *a == *b;
    };
    auto const* const type = next.if_contains("type");
    bool const is_text = type != nullptr && (*type == "reasoning.text" || *type == "reasoning.summary");
    return is_text && same("type") && same("index");
}

} // namespace

chat::Message LoopMessage::view() const noexcept {
    std::string_view const text = json;
    auto const role_bytes = chat::role_name(role).size() + 2;
    return {role, text, text.substr(content_at, content_bytes), text.substr(kRoleKey.size(), role_bytes), false};
}

std::string joined_details(std::span<std::string const> pieces) {
    json::array out;
    for (auto const& piece : pieces) {
        auto const value = core::json_tree(piece);
        if (!value || !value->is_array()) continue;
        for (auto const& element : value->get_array()) {
            auto* const last = out.empty() ? nullptr : out.back().if_object();
            if (last != nullptr && element.is_object() && continues(*last, element.get_object())) {
                join(*last, element.get_object());
            } else {
                out.push_back(element);
            }
        }
    }
    return json::serialize(out);
}

std::vector<std::string> tool_call_ids(std::string_view message_json) {
    std::vector<std::string> ids;
    if (message_json.find("\"tool_calls\"") == std::string_view::npos) return ids;
    auto const message = core::json_tree(message_json);
    auto const* const object = message ? message->if_object() : nullptr;
    auto const* const calls = object != nullptr ? object->if_contains("tool_calls") : nullptr;
    if (calls == nullptr || !calls->is_array()) return ids;
    for (auto const& call : calls->get_array()) {
        auto const* const one = call.if_object();
        auto const* const id = one != nullptr ? one->if_contains("id") : nullptr;
        if (id != nullptr && id->is_string()) ids.emplace_back(id->get_string().data(), id->get_string().size());
    }
    return ids;
}

LoopMessage assistant_message(std::string_view text_body, std::span<MessageCall const> calls,
                              std::string_view reasoning_body, std::span<std::string const> reasoning_details,
                              std::span<std::string const> reasoning_items) {
    auto message = begun(chat::Role::kAssistant);
    auto& out = message.json;
    open_content(message);
    if (text_body.empty()) {
        out += "null";
    } else {
        append_body(out, text_body);
    }
    close_content(message);
    out += R"(,"tool_calls":[)";
    for (auto const& call : calls) {
        if (out.back() != '[') out += ',';
        out += R"({"id":)";
        append_body(out, call.id);
        out += R"(,"type":"function","function":{"name":)";
        append_body(out, call.name);
        out += R"(,"arguments":)";
        append_body(out, call.arguments.empty() ? "{}" : call.arguments);
        out += "}}";
    }
    out += ']';
    if (!reasoning_items.empty()) {
        out += R"(,"reasoning_items":)";
        out += joined_details(reasoning_items);
    } else if (!reasoning_details.empty()) {
        out += R"(,"reasoning_details":)";
        out += joined_details(reasoning_details);
    } else if (!reasoning_body.empty()) {
        out += R"(,"reasoning_content":)";
        append_body(out, reasoning_body);
    }
    out += '}';
    return message;
}

LoopMessage plain_message(chat::Role role, std::string_view content_json) {
    auto message = begun(role);
    open_content(message);
    message.json += content_json;
    close_content(message);
    message.json += '}';
    return message;
}

std::optional<LoopMessage> message_of(json::object const& given) {
    auto const* const role = given.if_contains("role");
    if (role == nullptr || !role->is_string()) return std::nullopt;
    std::string_view const name(role->get_string().data(), role->get_string().size());
    using enum chat::Role;
    constexpr std::array roles{kSystem, kDeveloper, kUser, kAssistant, kTool, kFunction};
    auto const* const found = std::ranges::find(roles, name, &chat::role_name);
    if (found == roles.end()) return std::nullopt;
    auto message = begun(*found);
    for (auto const& member : given) {
        if (member.key() == "role" || member.key() == "content") continue;
        message.json += json::serialize(member.key());
        message.json += ':';
        message.json += json::serialize(member.value());
        message.json += ',';
    }
    auto const* const content = given.if_contains("content");
    open_content(message);
    message.json += content != nullptr ? json::serialize(*content) : "null";
    close_content(message);
    message.json += '}';
    return message;
}

LoopMessage tool_message(std::string_view id_body, std::string_view text) {
    auto message = begun(chat::Role::kTool);
    message.json += R"("tool_call_id":)";
    append_body(message.json, id_body);
    message.json += ',';
    open_content(message);
    core::append_json_string(message.json, text);
    close_content(message);
    message.json += '}';
    return message;
}

LoopMessage images_message(std::span<std::pair<std::string, mcp::Image> const> images) {
    auto message = begun(chat::Role::kUser);
    open_content(message);
    message.json += '[';
    std::string_view shown;
    for (auto const& [tool, image] : images) {
        if (message.json.back() != '[') message.json += ',';
        if (tool != shown) {
            message.json += R"({"type":"text","text":)";
            core::append_json_string(message.json, "What the tool " + tool + " shows:");
            message.json += "},";
            shown = tool;
        }
        message.json += R"({"type":"image_url","image_url":{"url":)";
        core::append_json_string(message.json, "data:" + image.mime_type + ";base64," + image.base64);
        message.json += "}}";
    }
    message.json += ']';
    close_content(message);
    message.json += '}';
    return message;
}

} // namespace parley::agents

// Chat messages become Responses items. A message of plain text is a valid item as it came, and is copied.
// Pure; runs on the loop of the request.
#include "providers/responses_input.hpp"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "core/json.hpp"
#include "providers/json_text.hpp"

namespace parley::providers {

namespace {

class InputWriter {
public:
    explicit InputWriter(std::string& out) : out_(out) {}

    core::Result<> add(std::size_t index, chat::Message const& message);

private:
    void separate() {
        if (!out_.ends_with('[')) out_ += ',';
    }
    core::Result<> add_message(chat::Message const& message, std::string const& param);
    core::Result<> add_assistant(chat::Message const& message, JsonMembers const& members, std::string const& param);
    core::Result<> add_reasoning(std::string_view items);
    core::Result<> add_tool_calls(std::string_view tool_calls, std::string const& param);
    void add_call(std::string_view id_body, JsonMembers const& function);
    core::Result<> add_output(std::string_view id_body, std::string_view content, std::string const& param);

    core::Result<> write_parts(std::string_view content, chat::Role role, std::string const& param);
    core::Result<> write_part(std::string_view part, chat::Role role, std::string const& param);
    core::Result<> write_image(ObjectText& part, std::string_view image_url);
    core::Result<> write_file(ObjectText& part, std::string_view file);
    core::Result<bool> append_all_text(std::string& body, std::string_view content);

    std::string& out_;
    JsonSlicer slicer_;
    std::string legacy_id_; // of the last call in the deprecated function_call form, which has no ids
    int legacy_calls_ = 0;
};

core::Result<> InputWriter::add(std::size_t index, chat::Message const& message) {
    bool const has_item_form = message.role != chat::Role::kTool && message.role != chat::Role::kFunction;
    if (message.plain && has_item_form) {
        separate();
        out_ += message.json;
        return {};
    }
    std::string const param = fmt::format("messages[{}]", index);
    if (message.role == chat::Role::kFunction) return add_output(legacy_id_, message.content, param);
    if (message.role != chat::Role::kTool && message.role != chat::Role::kAssistant) return add_message(message, param);

    auto const members = slicer_.members(message.json);
    if (!members) return members.error();
    if (message.role == chat::Role::kAssistant) return add_assistant(message, *members, param);
    return add_output(string_body(find_member(*members, "tool_call_id")), message.content, param);
}

core::Result<> InputWriter::add_message(chat::Message const& message, std::string const& param) {
    separate();
    ObjectText item(out_);
    item.text("role", chat::role_name(message.role));
    item.name("content");
    if (is_array(message.content)) {
        auto const parts = write_parts(message.content, message.role, param + ".content");
        if (!parts) return parts.error();
    } else {
        out_ += is_string(message.content) ? message.content : std::string_view(R"("")");
    }
    item.close();
    return {};
}

core::Result<> InputWriter::add_assistant(chat::Message const& message, JsonMembers const& members,
                                          std::string const& param) {
    auto const reasoning = add_reasoning(find_member(members, "reasoning_items"));
    if (!reasoning) return reasoning.error();
    std::string_view const refusal = find_member(members, "refusal");
    if (!is_empty_json(message.content)) {
        auto const added = add_message(message, param);
        if (!added) return added.error();
    } else if (is_string(refusal)) {
        separate();
        out_ += R"({"type":"message","role":"assistant","content":[{"type":"refusal","refusal":)";
        out_.append(refusal).append("}]}");
    }
    if (auto const tool_calls = find_member(members, "tool_calls"); !is_empty_json(tool_calls))
        return add_tool_calls(tool_calls, param + ".tool_calls");
    if (auto const function_call = find_member(members, "function_call"); is_object(function_call)) {
        auto const function = slicer_.members(function_call);
        if (!function) return function.error();
        legacy_id_ = fmt::format("call_function_{}", legacy_calls_++);
        add_call(legacy_id_, *function);
    }
    return {};
}

/// What the decoder said as `reasoning_items` of that message; anything else is passed over.
core::Result<> InputWriter::add_reasoning(std::string_view items) {
    if (!is_array(items)) return {};
    auto const elements = slicer_.elements(items);
    if (!elements) return elements.error();
    for (std::string_view const json : *elements) {
        auto const members = slicer_.members(json);
        if (!members || string_body(find_member(*members, "type")) != "reasoning") continue;
        separate();
        out_ += json;
    }
    return {};
}

core::Result<> InputWriter::add_tool_calls(std::string_view tool_calls, std::string const& param) {
    auto const calls = slicer_.elements(tool_calls);
    if (!calls) return calls.error();
    for (std::size_t i = 0; i < calls->size(); ++i) {
        auto const call = slicer_.members((*calls)[i]);
        if (!call) return call.error();
        std::string_view const function_json = find_member(*call, "function");
        if (!is_object(function_json)) {
            return core::make_error(core::Errc::kUnsupportedValue,
                                    "Only tool calls of type 'function' can be sent here; this call has no 'function'.",
                                    fmt::format("{}[{}]", param, i));
        }
        auto const function = slicer_.members(function_json);
        if (!function) return function.error();
        add_call(string_body(find_member(*call, "id")), *function);
    }
    return {};
}

void InputWriter::add_call(std::string_view id_body, JsonMembers const& function) {
    separate();
    ObjectText item(out_);
    item.raw("type", R"("function_call")");
    item.body("call_id", id_body);
    item.body("name", string_body(find_member(function, "name")));
    std::string_view const arguments = find_member(function, "arguments");
    if (is_object(arguments)) { // some clients keep them parsed
        item.text("arguments", arguments);
    } else {
        item.body("arguments", is_empty_json(arguments) ? std::string_view("{}") : string_body(arguments));
    }
    item.close();
}

core::Result<> InputWriter::add_output(std::string_view id_body, std::string_view content, std::string const& param) {
    if (id_body.empty()) {
        return core::make_error(core::Errc::kMissingParameter,
                                "A tool's result must say which call it answers: 'tool_call_id' is missing.",
                                param + ".tool_call_id");
    }
    separate();
    ObjectText item(out_);
    item.raw("type", R"("function_call_output")");
    item.body("call_id", id_body);
    if (is_array(content)) {
        std::string text;
        auto const only_text = append_all_text(text, content);
        if (!only_text) return only_text.error();
        if (*only_text) {
            item.body("output", text);
        } else {
            item.name("output");
            auto const parts = write_parts(content, chat::Role::kTool, param + ".content");
            if (!parts) return parts.error();
        }
    } else {
        item.body("output", string_body(content));
    }
    item.close();
    return {};
}

/// Text parts as one string body, joined with line feeds; false when there are others too.
core::Result<bool> InputWriter::append_all_text(std::string& body, std::string_view content) {
    auto const parts = slicer_.elements(content);
    if (!parts) return parts.error();
    for (std::string_view const part : *parts) {
        auto const members = slicer_.members(part);
        if (!members) return members.error();
        if (string_body(find_member(*members, "type")) != "text") return false;
        if (!body.empty()) body += "\\n";
        body += string_body(find_member(*members, "text"));
    }
    return true;
}

core::Result<> InputWriter::write_parts(std::string_view content, chat::Role role, std::string const& param) {
    auto const parts = slicer_.elements(content);
    if (!parts) return parts.error();
    out_ += '[';
    for (std::size_t i = 0; i < parts->size(); ++i) {
        if (i > 0) out_ += ',';
        auto const part = write_part((*parts)[i], role, fmt::format("{}[{}]", param, i));
        if (!part) return part.error();
    }
    out_ += ']';
    return {};
}

core::Result<> InputWriter::write_part(std::string_view part, chat::Role role, std::string const& param) {
    auto const members = slicer_.members(part);
    if (!members) return members.error();
    std::string_view const type = string_body(find_member(*members, "type"));
    bool const is_assistant = role == chat::Role::kAssistant;
    if (type == "text") {
        ObjectText item(out_);
        item.text("type", is_assistant ? "output_text" : "input_text");
        item.body("text", string_body(find_member(*members, "text")));
        item.close();
    } else if (type == "refusal" && is_assistant) {
        ObjectText item(out_);
        item.text("type", "refusal");
        item.body("refusal", string_body(find_member(*members, "refusal")));
        item.close();
    } else if (type == "image_url" && !is_assistant) {
        ObjectText item(out_);
        item.text("type", "input_image");
        return write_image(item, find_member(*members, "image_url"));
    } else if (type == "file" && !is_assistant) {
        ObjectText item(out_);
        item.text("type", "input_file");
        return write_file(item, find_member(*members, "file"));
    } else if (type == "input_audio" && !is_assistant) {
        out_ += part; // the same shape in both APIs
    } else {
        return core::make_error(core::Errc::kUnsupportedValue,
                                fmt::format("A part of type '{}' cannot be sent in this message. Possible: {}.",
                                            core::json_body_to_text(type),
                                            is_assistant ? "text, refusal" : "text, image_url, file, input_audio"),
                                param + ".type");
    }
    return {};
}

core::Result<> InputWriter::write_image(ObjectText& part, std::string_view image_url) {
    if (is_object(image_url)) {
        auto const members = slicer_.members(image_url);
        if (!members) return members.error();
        part.body("image_url", string_body(find_member(*members, "url")));
        if (auto const detail = find_member(*members, "detail"); is_string(detail)) part.raw("detail", detail);
    } else {
        part.body("image_url", string_body(image_url)); // some clients send the bare string
    }
    part.close();
    return {};
}

core::Result<> InputWriter::write_file(ObjectText& part, std::string_view file) {
    auto const members = slicer_.members(file);
    if (!members) return members.error();
    for (std::string_view const name : {"file_id", "filename", "file_data", "file_url"}) {
        if (auto const json = find_member(*members, name); is_string(json)) part.raw(name, json);
    }
    part.close();
    return {};
}

} // namespace

core::Result<> append_responses_input(std::string& out, std::span<chat::Message const> messages) {
    InputWriter writer(out);
    for (std::size_t i = 0; i < messages.size(); ++i) {
        auto const added = writer.add(i, messages[i]);
        if (!added) return added.error();
    }
    return {};
}

} // namespace parley::providers

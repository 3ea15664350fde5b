// Ollama's message form. A message of plain text is copied as it came; the others are put together from slices.
// Pure; runs on the loop of the request.
#include "providers/ollama_messages.hpp"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "core/json.hpp"
#include "providers/json_text.hpp"

namespace parley::providers {

namespace {

constexpr std::size_t kArgumentsDepthMax = 128; // deeper than any tool's schema; bounds the check

class MessageWriter {
public:
    explicit MessageWriter(std::string& out) : out_(out) {}

    core::Result<> add(std::size_t index, chat::Message const& message);

private:
    struct Content {
        std::string body;                     // JSON string body
        std::vector<std::string_view> images; // base64 as string bodies
    };

    core::Result<Content> read_content(std::string_view content, std::string const& param);
    core::Result<> read_part(std::string_view part, std::string const& param, Content& into);
    core::Result<std::string_view> read_image(std::string_view image_url, std::string const& param);
    core::Result<> write_tool_calls(ObjectText& object, std::string_view tool_calls, std::string const& param);
    void write_function(ObjectText& call, std::string_view name, std::string_view arguments);
    void write_tool_name(ObjectText& object, JsonMembers const& members);

    std::string& out_;
    JsonSlicer slicer_;
    std::vector<std::pair<std::string_view, std::string_view>> calls_; // id and name of the calls so far, bodies
};

std::string_view ollama_role(chat::Role role) noexcept {
    switch (role) {
        case chat::Role::kSystem:
        case chat::Role::kDeveloper:
            return "system";
        case chat::Role::kAssistant:
            return "assistant";
        case chat::Role::kTool:
        case chat::Role::kFunction:
            return "tool";
        case chat::Role::kUser:
            break;
    }
    return "user";
}

core::Result<> MessageWriter::add(std::size_t index, chat::Message const& message) {
    if (!out_.ends_with('[')) out_ += ',';
    bool const same_role = message.role != chat::Role::kDeveloper && message.role != chat::Role::kFunction;
    if (message.plain && same_role) {
        out_ += message.json;
        return {};
    }

    std::string const param = fmt::format("messages[{}]", index);
    auto const members = slicer_.members(message.json);
    if (!members) return members.error();
    auto const content = read_content(message.content, param + ".content");
    if (!content) return content.error();

    ObjectText object(out_);
    object.text("role", ollama_role(message.role));
    object.body("content", content->body);
    if (!content->images.empty()) {
        std::string& images = object.name("images");
        char separator = '[';
        for (std::string_view const image : content->images) {
            images += std::exchange(separator, ',');
            images += '"';
            images += image;
            images += '"';
        }
        images += ']';
    }
    if (message.role == chat::Role::kTool || message.role == chat::Role::kFunction) write_tool_name(object, *members);
    if (message.role == chat::Role::kAssistant) {
        auto const tool_calls = find_member(*members, "tool_calls");
        auto const function_call = find_member(*members, "function_call");
        // Reasoning models continue better when they see what they thought before they called.
        std::string_view thinking = find_member(*members, "reasoning_content");
        if (thinking.empty()) thinking = find_member(*members, "reasoning");
        if (is_string(thinking) && !(is_empty_json(tool_calls) && function_call.empty()))
            object.raw("thinking", thinking);
        if (!is_empty_json(tool_calls)) {
            auto const written = write_tool_calls(object, tool_calls, param + ".tool_calls");
            if (!written) return written.error();
        } else if (is_object(function_call)) {
            auto const function = slicer_.members(function_call);
            if (!function) return function.error();
            ObjectText call(object.name("tool_calls") += '[');
            write_function(call, find_member(*function, "name"), find_member(*function, "arguments"));
            call.close();
            out_ += ']';
        }
    }
    object.close();
    return {};
}

core::Result<MessageWriter::Content> MessageWriter::read_content(std::string_view content, std::string const& param) {
    Content read;
    if (!is_array(content)) {
        read.body = string_body(content);
        return read;
    }
    auto const parts = slicer_.elements(content);
    if (!parts) return parts.error();
    for (std::size_t i = 0; i < parts->size(); ++i) {
        auto const part = read_part((*parts)[i], fmt::format("{}[{}]", param, i), read);
        if (!part) return part.error();
    }
    return read;
}

core::Result<> MessageWriter::read_part(std::string_view part, std::string const& param, Content& into) {
    auto const members = slicer_.members(part);
    if (!members) return members.error();
    std::string_view const type = string_body(find_member(*members, "type"));
    if (type == "text" || type == "refusal") {
        if (!into.body.empty()) into.body += "\\n";
        into.body += string_body(find_member(*members, type));
        return {};
    }
    if (type == "image_url") {
        auto const image = read_image(find_member(*members, "image_url"), param + ".image_url");
        if (!image) return image.error();
        into.images.push_back(*image);
        return {};
    }
    return core::make_error(core::Errc::kUnsupportedValue,
                            fmt::format("Ollama reads text and images; a part of type '{}' cannot be sent to it.",
                                        core::json_body_to_text(type)),
                            param + ".type");
}

core::Result<std::string_view> MessageWriter::read_image(std::string_view image_url, std::string const& param) {
    std::string_view url = image_url; // some clients send the bare string
    std::string url_param = param;
    if (is_object(image_url)) {
        auto const members = slicer_.members(image_url);
        if (!members) return members.error();
        url = find_member(*members, "url");
        url_param += ".url";
    }
    url = string_body(url);
    if (!url.starts_with("data:")) {
        return core::make_error(core::Errc::kUnsupportedValue,
                                "Ollama does not fetch images: send a data: URL (data:image/png;base64,...).",
                                std::move(url_param));
    }
    constexpr std::string_view kMark = ";base64,";
    std::size_t const mark = url.find(kMark);
    if (mark == std::string_view::npos || mark + kMark.size() == url.size()) {
        return core::make_error(core::Errc::kInvalidValue,
                                "This data: URL holds no base64 data. Expected: data:image/png;base64,<data>.",
                                std::move(url_param));
    }
    return url.substr(mark + kMark.size());
}

core::Result<> MessageWriter::write_tool_calls(ObjectText& object, std::string_view tool_calls,
                                               std::string const& param) {
    auto const calls = slicer_.elements(tool_calls);
    if (!calls) return calls.error();
    object.name("tool_calls") += '[';
    for (std::size_t i = 0; i < calls->size(); ++i) {
        if (i > 0) out_ += ',';
        auto const call = slicer_.members((*calls)[i]);
        if (!call) return call.error();
        std::string_view const function_json = find_member(*call, "function");
        if (!is_object(function_json)) {
            return core::make_error(core::Errc::kUnsupportedValue,
                                    "Ollama knows tool calls of type 'function' only; this call has no 'function'.",
                                    fmt::format("{}[{}]", param, i));
        }
        auto const function = slicer_.members(function_json);
        if (!function) return function.error();
        std::string_view const id = string_body(find_member(*call, "id"));
        std::string_view const name = find_member(*function, "name");
        calls_.emplace_back(id, string_body(name));

        ObjectText written(out_);
        if (!id.empty()) written.body("id", id);
        write_function(written, name, find_member(*function, "arguments"));
        written.close();
    }
    out_ += ']';
    return {};
}

void MessageWriter::write_function(ObjectText& call, std::string_view name, std::string_view arguments) {
    ObjectText function(call.name("function"));
    function.body("name", string_body(name));
    if (is_object(arguments)) {
        function.raw("arguments", arguments);
    } else {
        std::string const text = core::json_body_to_text(string_body(arguments));
        std::size_t const start = text.find_first_not_of(" \t\r\n");
        if (start == std::string::npos) {
            function.raw("arguments", "{}");
        } else if (text[start] == '{' && core::check_json(text, kArgumentsDepthMax)) {
            function.raw("arguments", text);
        } else {
            ObjectText raw(function.name("arguments"));
            raw.body("_raw", string_body(arguments));
            raw.close();
        }
    }
    function.close();
}

void MessageWriter::write_tool_name(ObjectText& object, JsonMembers const& members) {
    std::string_view const id = string_body(find_member(members, "tool_call_id"));
    std::string_view name = string_body(find_member(members, "name"));
    for (auto call = calls_.rbegin(); call != calls_.rend() && !id.empty(); ++call) {
        if (call->first != id) continue;
        name = call->second;
        break;
    }
    if (!name.empty()) object.body("tool_name", name);
    if (!id.empty()) object.body("tool_call_id", id);
}

} // namespace

core::Result<> append_ollama_messages(std::string& out, std::span<chat::Message const> messages) {
    MessageWriter writer(out);
    for (std::size_t i = 0; i < messages.size(); ++i) {
        auto const added = writer.add(i, messages[i]);
        if (!added) return added.error();
    }
    return {};
}

} // namespace parley::providers

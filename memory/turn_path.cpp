#include "memory/turn_path.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <utility>

#include "core/hash.hpp"
#include "core/json.hpp"
#include "core/json_tree.hpp"
#include "memory/visible_text.hpp"

namespace parley::memory {
namespace {

namespace json = boost::json;

// Parts with their lengths, so that no two lists of parts are the same bytes.
class Content {
public:
    explicit Content(std::string_view kind) { add(kind); }

    void add(std::string_view part) {
        bytes_ += std::to_string(part.size());
        bytes_ += ':';
        bytes_ += part;
    }
    void add(TurnId const& id) { add(std::string_view(reinterpret_cast<char const*>(id.data()), id.size())); }

    TurnId digest() const { return core::sha256(bytes_); }

private:
    std::string bytes_;
};

std::string_view text_in(json::object const& object, std::string_view key) {
    auto const* const value = object.if_contains(key);
    auto const* const text = value ? value->if_string() : nullptr;
    return text ? std::string_view(text->data(), text->size()) : std::string_view();
}

// Members in the order of their names, so that the same JSON written otherwise is the same.
json::value sorted(json::value const& value) {
    if (value.is_array()) {
        json::array out;
        for (auto const& one : value.get_array())
            out.push_back(sorted(one));
        return out;
    }
    if (!value.is_object()) return value;
    std::vector<std::pair<std::string, json::value>> members;
    for (auto const& member : value.get_object())
        members.emplace_back(std::string(member.key()), sorted(member.value()));
    std::ranges::sort(members, {}, &std::pair<std::string, json::value>::first);
    json::object out;
    for (auto& [key, one] : members)
        out[key] = std::move(one);
    return out;
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view kSpace = " \n\r\t";
    auto const first = text.find_first_not_of(kSpace);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// The text, and everything else (pictures, files) by its value.
void add_content(Content& content, chat::Message const& message) {
    content.add(trimmed(content_text(message)));
    if (message.content.empty() || message.content.front() != '[') return;
    auto const value = core::json_tree(message.content);
    if (!value || !value->is_array()) return;
    for (auto const& part : value->get_array()) {
        auto const* const object = part.if_object();
        if (object && text_in(*object, "type") == "text") continue;
        content.add(json::serialize(sorted(part)));
    }
}

struct Call {
    std::string id;
    std::string name;
    std::string arguments;
};

std::vector<Call> calls_in(json::value const* list) {
    std::vector<Call> out;
    auto const* const calls = list ? list->if_array() : nullptr;
    if (!calls) return out;
    for (auto const& one : *calls) {
        auto const* const call = one.if_object();
        auto const* const function = call ? call->if_contains("function") : nullptr;
        if (!function || !function->is_object()) continue;
        auto const& object = function->get_object();
        out.push_back({std::string(text_in(*call, "id")), std::string(text_in(object, "name")),
                       std::string(text_in(object, "arguments"))});
    }
    return out;
}

TurnId answer_id_of(TurnId const& parent, std::string_view text, std::span<Call const> calls) {
    Content content("answer");
    content.add(parent);
    content.add(answer_fingerprint(text));
    for (auto const& call : calls) {
        content.add(call.id);
        content.add(call.name);
    }
    return content.digest();
}

// Walks the messages and closes a turn where one ends.
class Walk {
public:
    Walk(std::span<std::string const> client_tools, TurnId const& parent, std::span<std::string const> awaited)
        : client_tools_(client_tools), parent_(parent), awaited_(awaited.begin(), awaited.end()) {}

    void take(chat::Message const& message, std::size_t index) {
        switch (message.role) {
            case chat::Role::kSystem:
            case chat::Role::kDeveloper:
                return;
            case chat::Role::kUser: {
                close_answer(index);
                Content content("input");
                content.add(parent_);
                add_content(content, message);
                add(TurnKind::kInput, content.digest(), index, index + 1);
                return;
            }
            case chat::Role::kAssistant:
                take_assistant(message, index);
                return;
            case chat::Role::kTool:
            case chat::Role::kFunction:
                take_result(message, index);
                return;
        }
    }

    std::vector<Turn> finish(std::size_t end) {
        close_answer(end);
        return std::move(turns_);
    }

private:
    void take_assistant(chat::Message const& message, std::size_t index) {
        if (!open_) first_ = index;
        open_ = true;
        text_ += content_text(message);
        // Most have none, and are not parsed.
        if (message.json.find("tool_calls") == std::string_view::npos) return;
        auto const value = core::json_tree(message.json);
        auto const* const object = value ? value->if_object() : nullptr;
        auto calls = calls_in(object ? object->if_contains("tool_calls") : nullptr);
        std::erase_if(calls, [this](Call const& call) {
            return std::ranges::find(client_tools_, call.name) == client_tools_.end();
        });
        if (calls.empty()) return;
        for (auto const& call : calls)
            awaited_.push_back(call.id);
        close(answer_id_of(parent_, text_, calls), index + 1);
    }

    // Results of the agent's own tools are part of its answer.
    void take_result(chat::Message const& message, std::size_t index) {
        auto const value = core::json_tree(message.json);
        auto const* const object = value ? value->if_object() : nullptr;
        auto const id = std::string(object ? text_in(*object, "tool_call_id") : std::string_view());
        if (std::ranges::find(awaited_, id) == awaited_.end()) return;
        close_answer(index);
        Content content("tool result");
        content.add(parent_);
        content.add(id);
        add_content(content, message);
        add(TurnKind::kToolResult, content.digest(), index, index + 1);
    }

    void close_answer(std::size_t end) {
        if (open_) close(answer_id_of(parent_, text_, {}), end);
    }

    void close(TurnId const& id, std::size_t end) {
        add(TurnKind::kAnswer, id, first_, end);
        open_ = false;
        text_.clear();
    }

    void add(TurnKind kind, TurnId const& id, std::size_t first, std::size_t last) {
        turns_.push_back({kind, id, parent_, first, last});
        parent_ = id;
    }

    std::span<std::string const> client_tools_;
    TurnId parent_;
    std::vector<std::string> awaited_; // ids of calls that the client was to run
    std::vector<Turn> turns_;
    bool open_ = false; // an answer whose end has not been seen
    std::size_t first_ = 0;
    std::string text_;
};

} // namespace

std::string content_text(chat::Message const& message) {
    auto const& content = message.content;
    if (content.starts_with('"')) return core::json_body_to_text(core::strip_quotes(content));
    std::string out;
    if (!content.starts_with('[')) return out;
    auto const value = core::json_tree(content);
    if (!value || !value->is_array()) return out;
    for (auto const& part : value->get_array()) {
        auto const* const object = part.if_object();
        if (object && text_in(*object, "type") == "text") out += text_in(*object, "text");
    }
    return out;
}

std::vector<Turn> turns_of(std::span<chat::Message const> messages, std::span<std::string const> client_tools,
                           TurnId const& parent, std::span<std::string const> awaited) {
    Walk walk(client_tools, parent, awaited);
    for (std::size_t i = 0; i < messages.size(); ++i)
        walk.take(messages[i], i);
    return walk.finish(messages.size());
}

TurnId answer_id(TurnId const& parent, std::string_view text, std::string_view client_calls_json) {
    auto const value = client_calls_json.empty() ? std::nullopt : core::json_tree(client_calls_json);
    return answer_id_of(parent, text, calls_in(value ? &*value : nullptr));
}

} // namespace parley::memory

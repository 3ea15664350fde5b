#include "agents/model_history.hpp"

#include <boost/json/array.hpp>

#include <algorithm>
#include <array>
#include <string_view>

#include "core/json.hpp"
#include "core/json_tree.hpp"
#include "memory/visible_text.hpp"

namespace parley::agents {
namespace {

namespace json = boost::json;

constexpr std::array<std::string_view, 4> kReasoning{"reasoning", "reasoning_content", "reasoning_details",
                                                     "reasoning_items"};

std::string_view text_of(json::object const& object, std::string_view key) {
    auto const* const value = object.if_contains(key);
    auto const* const text = value != nullptr ? value->if_string() : nullptr;
    return text != nullptr ? std::string_view(text->data(), text->size()) : std::string_view{};
}

// As an earlier answer is told to a model. False = nothing of it is left.
bool tidy_answer(json::object& message, bool keep_reasoning) {
    if (!keep_reasoning) {
        for (auto const key : kReasoning)
            message.erase(key);
    }
    auto* const content = message.if_contains("content");
    bool const is_text = content != nullptr && content->is_string();
    if (is_text) *content = memory::without_hidden_blocks(text_of(message, "content"));
    auto const is_silent = content == nullptr || content->is_null() || (is_text && content->get_string().empty());
    return !is_silent || message.contains("tool_calls");
}

// Keeps `open` to the calls that nobody has answered.
void note_calls(json::object const& message, std::vector<std::string>& open) {
    if (auto const answered = text_of(message, "tool_call_id"); !answered.empty()) std::erase(open, answered);
    auto const* const calls = message.if_contains("tool_calls");
    if (calls == nullptr || !calls->is_array()) return;
    for (auto const& call : calls->get_array())
        if (auto const* const of = call.if_object()) open.emplace_back(text_of(*of, "id"));
}

json::array messages_of(memory::StoredTurn const& turn) {
    auto const value = core::json_tree(turn.messages);
    return value && value->is_array() ? value->get_array() : json::array{};
}

} // namespace

void ModelHistory::add_earlier(chat::Message const& message) {
    auto const may_hide =
        message.content.find('<') != std::string_view::npos || message.content.find("\\u003") != std::string_view::npos;
    auto const value = may_hide ? core::json_tree(message.json) : std::nullopt;
    if (!value || !value->is_object()) return add(message);
    auto object = value->get_object();
    if (!tidy_answer(object, true)) return;
    auto own = message_of(object);
    if (own) add_own(std::move(*own));
}

void ModelHistory::add_stored(memory::StoredTurn const& turn, bool keep_reasoning) {
    for (auto& one : messages_of(turn)) {
        auto* const object = one.if_object();
        if (object == nullptr) continue;
        if (turn.kind == memory::TurnKind::kAnswer && text_of(*object, "role") == "assistant" &&
            !tidy_answer(*object, keep_reasoning)) {
            continue;
        }
        note_calls(*object, open_calls_);
        auto own = message_of(*object);
        if (own) add_own(std::move(*own));
    }
}

void ModelHistory::add_summary(std::string_view text) {
    std::string content;
    core::append_json_string(content, "Summary of the conversation so far:\n" + std::string(text));
    add_own(plain_message(chat::Role::kSystem, content));
}

void ModelHistory::close_calls() {
    for (auto const& id : open_calls_) {
        std::string body;
        core::append_json_body(body, id);
        add_own(tool_message(body, "(The client did not run this tool.)"));
    }
    open_calls_.clear();
}

void ModelHistory::add_own(LoopMessage message) {
    own_.push_back(std::move(message));
    messages_.push_back(own_.back().view());
}

std::vector<std::string> awaited_calls(std::span<memory::StoredTurn const> turns) {
    std::vector<std::string> awaited;
    for (auto const& turn : turns) {
        for (auto const& one : messages_of(turn))
            if (auto const* const object = one.if_object()) note_calls(*object, awaited);
    }
    return awaited;
}

} // namespace parley::agents

#include "server/conversation_pages.hpp"

#include <boost/json/array.hpp>

#include "core/json_tree.hpp"
#include "server/wall_clock.hpp"

namespace parley::server {
namespace {

namespace json = boost::json;
using memory::StoredTurn;
using memory::TurnKind;

json::array messages_of(StoredTurn const& turn) {
    auto value = core::json_tree(turn.messages);
    return value && value->is_array() ? std::move(value->get_array()) : json::array{};
}

std::string_view kind_name(TurnKind kind) {
    switch (kind) {
        case TurnKind::kInput:
            return "input";
        case TurnKind::kAnswer:
            return "answer";
        case TurnKind::kToolResult:
            return "tool_result";
    }
    return "input";
}

int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

} // namespace

std::string turn_name(memory::TurnId const& id) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    for (auto const byte : id) {
        out += digits[byte >> 4U];
        out += digits[byte & 15U];
    }
    return out;
}

std::optional<memory::TurnId> turn_named(std::string_view name) {
    memory::TurnId id{};
    if (name.size() != 2 * id.size()) return std::nullopt;
    for (std::size_t i = 0; i < id.size(); ++i) {
        auto const high = digit(name[2 * i]);
        auto const low = digit(name[2 * i + 1]);
        if (high < 0 || low < 0) return std::nullopt;
        id[i] = static_cast<std::uint8_t>(high * 16 + low);
    }
    return id;
}

json::object info_object(memory::ConversationInfo const& info) {
    return {{"session_id", info.session},
            {"turns", info.turns},
            {"created_at", utc_text(info.created_ms)},
            {"updated_at", utc_text(info.updated_ms)}};
}

json::object path_object(std::string_view session, std::vector<StoredTurn> const& path) {
    json::array messages;
    for (auto const& turn : path) {
        for (auto& one : messages_of(turn)) {
            if (auto* const object = one.if_object()) (*object)["created_at"] = utc_text(turn.created_ms);
            messages.push_back(std::move(one));
        }
    }
    return {{"session_id", session}, {"messages", std::move(messages)}};
}

json::object tree_object(std::string_view session, memory::Found const& tree, std::optional<memory::TurnId> head) {
    json::array turns;
    for (auto const& turn : tree.turns) {
        json::object object{
            {"id", turn_name(turn.id)},
            {"parent", turn.parent == memory::kRoot ? json::value(nullptr) : json::value(turn_name(turn.parent))},
            {"kind", kind_name(turn.kind)},
            {"agent", turn.agent},
            {"created_at", utc_text(turn.created_ms)}};
        if (turn.kind == TurnKind::kAnswer) {
            object["model"] = turn.model;
            object["finish_reason"] = turn.finish;
            object["usage"] =
                json::object{{"prompt_tokens", turn.prompt_tokens}, {"completion_tokens", turn.completion_tokens}};
        }
        object["messages"] = messages_of(turn);
        turns.push_back(std::move(object));
    }
    json::object out{{"session_id", session}};
    if (head) out["head"] = turn_name(*head);
    out["turns"] = std::move(turns);
    json::array summaries;
    for (auto const& summary : tree.summaries) {
        summaries.push_back(json::object{{"up_to", turn_name(summary.turn)},
                                         {"agent", summary.agent},
                                         {"created_at", utc_text(summary.created_ms)},
                                         {"text", summary.text}});
    }
    if (!summaries.empty()) out["summaries"] = std::move(summaries);
    return out;
}

} // namespace parley::server

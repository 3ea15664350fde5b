// Puts the pieces of one choice's tool calls together, whatever a provider leaves out or repeats: the events that come
// out have indexes from 0 without gaps, and id and name on each call's first piece only.
// Owned by one decoder, single-threaded.
#include "providers/tool_call_merger.hpp"

#include <algorithm>

#include "core/json_escape.hpp"

namespace parley::providers {

void ToolCallMerger::Progress::add(std::string_view body) {
    for (std::size_t at = 0; at < body.size(); ++at) {
        char c = body[at];
        if (c == '\\') {
            auto const escape = core::read_escape(body.substr(at));
            c = escape.code >= 0 && escape.code < 0x80 ? static_cast<char>(escape.code) : ' ';
            at += escape.size - 1;
        }
        if (escaped) {
            escaped = false;
        } else if (in_string) {
            if (c == '\\') escaped = true;
            if (c == '"') in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            ++depth;
            begun = true;
        } else if (c == '}' || c == ']') {
            --depth;
        }
    }
}

namespace {

/// Whether it begins with a bracket, white space aside.
bool opens(std::string_view body) {
    for (std::size_t at = 0; at < body.size();) {
        auto const escape = body[at] == '\\' ? core::read_escape(body.substr(at)) : core::Escape{1, body[at]};
        auto const c = escape.code;
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return c == '{' || c == '[';
        at += escape.size;
    }
    return false;
}

} // namespace

/// A name and another value after a complete one: a second call that the provider did not number (Gemini, Ollama).
bool ToolCallMerger::begins_new(Call const& call, Piece const& piece) {
    return !piece.name.empty() && !call.name.empty() && call.progress.complete() && opens(piece.arguments);
}

ToolCallMerger::Call* ToolCallMerger::find(Piece const& piece) {
    auto const last = [&](auto const& matches) -> Call* {
        auto const at = std::find_if(calls_.rbegin(), calls_.rend(), matches);
        return at == calls_.rend() ? nullptr : &*at;
    };
    auto const same_index = [&](Call const& call) { return call.sent_index == piece.index; };

    Call* found = nullptr;
    if (!piece.id.empty()) {
        found = last([&](Call const& call) {
            return call.sent_id == piece.id && (piece.index < 0 || call.sent_index < 0 || same_index(call));
        });
        if (found == nullptr && piece.index >= 0) { // an id that comes after the call's first piece
            found = last(same_index);
            bool const late_id = found && found->sent_id.empty() && (found->name.empty() || piece.name.empty());
            if (!late_id) return nullptr;
        }
    } else if (piece.index >= 0) {
        found = last(same_index);
    } else if (!calls_.empty()) {
        found = &calls_.back();
        bool const other_function = !piece.name.empty() && !found->name.empty() && piece.name != found->name;
        if (other_function) return nullptr;
    }
    return found && begins_new(*found, piece) ? nullptr : found;
}

/// Ids must differ between calls of one conversation, so that they are made from the answer's id: call_<its end>_<n>.
/// At most 40 bytes, which is what OpenAI takes back.
std::string ToolCallMerger::make_id(Call const& call, std::string_view answer_id) const {
    bool const used =
        std::any_of(calls_.begin(), calls_.end(), [&](Call const& other) { return other.id == call.sent_id; });
    if (!call.sent_id.empty() && !used) return call.sent_id;

    std::string id = "call_";
    for (char const c : answer_id.substr(answer_id.size() > 24 ? answer_id.size() - 24 : 0)) {
        bool const plain =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
        if (plain) id += c;
    }
    if (id.back() != '_') id += '_';
    if (choice_ > 0) id += std::to_string(choice_) + "_";
    return id + std::to_string(count_);
}

bool ToolCallMerger::add(Piece const& piece, std::string_view answer_id, KeptText& kept,
                         std::vector<chat::RunEvent>& events) {
    Call* call = find(piece);
    if (call == nullptr) {
        bool const empty = piece.id.empty() && piece.name.empty() && piece.arguments.empty();
        if (empty) return true;
        if (calls_.size() == kToolCallsMax) return false;
        call = &calls_.emplace_back();
        call->sent_index = piece.index;
    }
    if (call->sent_id.empty()) call->sent_id = piece.id;
    if (call->name.empty()) call->name = piece.name;
    call->progress.add(piece.arguments);

    chat::ToolCallDelta event{.index = call->index, .arguments = piece.arguments, .choice = choice_};
    if (call->index >= 0) {
        if (!piece.arguments.empty()) events.emplace_back(event);
        return true;
    }
    if (call->name.empty()) {
        call->waiting += piece.arguments;
        return true;
    }
    call->id = make_id(*call, answer_id);
    event.index = call->index = count_++;
    event.id = kept.keep(call->id);
    event.name = kept.keep(call->name);
    if (!call->waiting.empty()) event.arguments = kept.keep(std::move(call->waiting) + std::string(piece.arguments));
    events.emplace_back(event);
    return true;
}

void ToolCallMerger::passed_on(int index, std::string_view arguments) {
    for (auto& call : calls_) {
        if (call.index == index) call.progress.add(arguments);
    }
}

bool ToolCallMerger::finish() const {
    return std::all_of(calls_.begin(), calls_.end(),
                       [](Call const& call) { return call.index >= 0 || call.waiting.empty(); });
}

} // namespace parley::providers

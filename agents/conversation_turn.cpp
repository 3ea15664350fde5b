#include "agents/conversation_turn.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "agents/client_tools.hpp"
#include "agents/conversation_storing.hpp"

namespace parley::agents {
namespace {

using chat::Role;
using memory::StoredTurn;
using memory::TurnKind;

constexpr std::int64_t kRetriedWithinMs = 10 * 60 * 1000; // the SDKs' longest default wait for an answer

bool is_system(chat::Message const& message) {
    return message.role == Role::kSystem || message.role == Role::kDeveloper;
}

// Where the messages behind the last one of an assistant begin.
std::size_t first_new_message(std::span<chat::Message const> messages) {
    auto at = messages.size();
    while (at > 0 && messages[at - 1].role != Role::kAssistant)
        --at;
    return at;
}

core::Error nothing_new(std::string const& agent_id, std::string_view found) {
    return core::make_error(core::Errc::kInvalidValue,
                            "The agent '" + agent_id +
                                "' keeps the conversation itself and reads the messages behind the last answer. This "
                                "request " +
                                std::string(found) + ".",
                            "messages");
}

} // namespace

bool has_memory(AgentConfig const& agent) {
    return !agent.resources || std::ranges::find(*agent.resources, "memory") != agent.resources->end();
}

ConversationTurn::ConversationTurn(memory::ConversationStore& store, core::Context const& context, Agent const& agent,
                                   chat::Turn const& asked, ConversationAsk ask, core::Executor const& executor)
    : store_(store),
      context_(context),
      agent_(agent),
      turn_(asked),
      ask_(std::move(ask)),
      executor_(executor),
      asked_(asked.messages),
      news_(asked.messages.subspan(first_new_message(asked.messages))),
      client_tools_(client_tool_names(asked.tools)) {
    constexpr std::int64_t hour_ms = 3'600'000;
    if (auto const hours = agent.config.retention_hours; hours > 0) expires_ms_ = ask_.now_ms + hours * hour_ms;
}

ConversationTurn::~ConversationTurn() {
    if (storing_) storing_->owner = nullptr;
}

core::Task<> ConversationTurn::recall() {
    auto const mode = agent_.config.history;
    auto const is_assistant = [](chat::Message const& message) { return message.role == Role::kAssistant; };
    bool const is_told = ask_.resends || std::ranges::any_of(asked_, is_assistant);
    if (mode == HistoryMode::kClient || (mode == HistoryMode::kAuto && is_told)) co_return co_await recall_told();
    auto path = co_await store_.path(context_, ask_.key);
    if (!path) co_return path.error();
    if (mode == HistoryMode::kAuto) {
        auto const tells = co_await client_tells(*path);
        if (!tells) co_return tells.error();
        if (*tells) co_return co_await recall_told();
    }
    co_return co_await recall_kept(std::move(*path));
}

// Of a request without an answer in it: it tells the whole conversation if it begins as a stored one does. A client
// that has only ever sent its last message may say its first words again, too.
core::Task<bool> ConversationTurn::client_tells(memory::Path const& path) const {
    auto const turns = memory::turns_of(asked_, client_tools_);
    if (turns.empty() || path.turns.empty()) co_return false;
    auto const questions = std::ranges::count(path.turns, TurnKind::kInput, &StoredTurn::kind);
    // A question without an answer is taken up again where it stands: following it would take the conversation back
    // behind what somebody else is just saying.
    bool const is_answered = path.turns.back().kind == TurnKind::kAnswer;
    if (path.turns.front().id == turns.front().id) co_return path.resent || (questions == 1 && is_answered);
    std::vector<memory::TurnId> root{turns.front().id};
    auto const other = co_await store_.find(context_, ask_.key, std::move(root));
    if (!other) co_return other.error();
    co_return !other->turns.empty();
}

// ---- client history

core::Task<> ConversationTurn::recall_told() {
    auto const turns = memory::turns_of(asked_, client_tools_);
    if (turns.empty()) co_return core::Result<>(); // nothing but a system message
    std::vector<memory::TurnId> ids;
    for (auto const& turn : turns)
        ids.push_back(turn.id);
    auto known = co_await store_.find(context_, ask_.key, ids);
    if (!known) co_return known.error();
    std::map<memory::TurnId, StoredTurn const*> by_id;
    for (auto const& one : known->turns)
        by_id[one.id] = &one;
    if (!ask_.parent_id.empty() && turns.size() > 1 && !by_id.contains(turns[turns.size() - 2].id)) {
        auto const placed = co_await recall_behind_parent(turns[turns.size() - 2]);
        if (!placed) co_return placed.error();
        if (*placed) co_return core::Result<>();
    }
    storing_ = std::make_shared<Storing>(*this, context_, executor_);
    storing_->client_tells = true;
    storing_->resent = turns.size() > 1;
    for (std::size_t i = 0; i < turns.size(); ++i) {
        if (by_id.contains(turns[i].id) && i + 1 < turns.size()) continue;
        storing_->turns.push_back(to_store(turns[i], asked_, static_cast<std::int64_t>(i)));
    }
    question_ = storing_->turns.back();
    auto const last = by_id.find(question_->id);
    if (last != by_id.end()) {
        auto const found = co_await find_given(*last->second);
        if (!found || replayed_) co_return found;
    }
    show_told(turns, *known);
    co_return core::Result<>();
}

// The client tells the history otherwise than before, and says behind which of our answers it goes on: Open WebUI sends
// a question with a file in full once, and later without. If that answer itself is as it was, the stored path is the
// history; else its user has rewritten it, and what the request says counts. False = that, or no such answer.
core::Task<bool> ConversationTurn::recall_behind_parent(memory::Turn const& parent) {
    auto const path = co_await store_.path_to(context_, ask_.key, ask_.parent_id);
    if (!path) co_return path.error();
    if (path->turns.empty() || path->turns.back().kind != TurnKind::kAnswer) co_return false;
    auto const& answer = path->turns.back();
    auto const told =
        memory::turns_of(asked_.subspan(parent.first, parent.last - parent.first), client_tools_, answer.parent);
    if (told.size() != 1 || told.front().id != answer.id) co_return false;
    auto news = news_behind(path->turns);
    if (!news) co_return false;
    storing_ = std::make_shared<Storing>(*this, context_, executor_);
    storing_->client_tells = true;
    storing_->resent = true;
    storing_->turns = std::move(*news);
    question_ = storing_->turns.back();
    auto const found = co_await find_given(*question_);
    if (!found) co_return found.error();
    if (!replayed_) show_path(path->turns, path->summaries);
    co_return true;
}

void ConversationTurn::show_told(std::vector<memory::Turn> const& turns, memory::Found const& known) {
    std::vector<memory::TurnId> ids;
    std::vector<std::int64_t> bytes;
    std::size_t at = 0;
    for (auto const& turn : turns) {
        ids.push_back(turn.id);
        bytes.push_back(0);
        for (auto i = turn.first; i < turn.last; ++i)
            bytes.back() += static_cast<std::int64_t>(asked_[i].json.size());
    }
    auto const begin = summarised(ids, bytes, known.summaries);
    if (begin > 0) {
        for (; at < turns[begin - 1].last; ++at)
            if (is_system(asked_[at])) history_.add(asked_[at]);
        history_.add_summary(std::ranges::find(known.summaries, ids[begin - 1], &memory::Summary::turn)->text);
    }
    for (auto i = begin; i < turns.size(); ++i) {
        for (; at < turns[i].first; ++at)
            history_.add(asked_[at]);
        auto const stored = std::ranges::find(known.turns, turns[i].id, &StoredTurn::id);
        bool const is_awaited = i + 1 < turns.size() && turns[i + 1].kind == TurnKind::kToolResult;
        show_told_turn(turns[i], stored == known.turns.end() ? nullptr : &*stored, is_awaited);
        at = turns[i].last;
    }
    for (; at < asked_.size(); ++at)
        history_.add(asked_[at]);
    show_history();
}

// An answer that is stored with its rounds is shown with them, whatever of it the client has kept.
void ConversationTurn::show_told_turn(memory::Turn const& turn, StoredTurn const* stored, bool is_awaited) {
    bool const is_answer = turn.kind == TurnKind::kAnswer;
    bool const has_rounds = stored != nullptr && stored->messages.find("\"tool_calls\"") != std::string::npos;
    bool const is_rewritten = is_answer && stored != nullptr && (has_rounds || turn.last - turn.first > 1);
    for (auto const& message : asked_.subspan(turn.first, turn.last - turn.first)) {
        if (is_rewritten && !is_system(message)) continue;
        if (is_answer && message.role == Role::kAssistant) {
            history_.add_earlier(message);
        } else {
            history_.add(message);
        }
    }
    if (is_rewritten) history_.add_stored(*stored, is_awaited);
}

// ---- server history

// What the request says behind `path`. Errors: kInvalidValue when that is nothing, or a result that nobody waits for.
core::Result<std::vector<StoredTurn>> ConversationTurn::news_behind(std::span<StoredTurn const> path) const {
    return news_behind(path, path.empty() ? memory::kRoot : path.back().id);
}

// The last turn of `path` is not always the parent: a late answer stands beside it.
core::Result<std::vector<StoredTurn>> ConversationTurn::news_behind(std::span<StoredTurn const> path,
                                                                    memory::TurnId const& parent) const {
    auto depth = path.empty() ? std::int64_t{0} : path.back().depth + 1;
    std::vector<StoredTurn> out;
    for (auto const& turn : memory::turns_of(news_, client_tools_, parent, awaited_calls(path)))
        out.push_back(to_store(turn, news_, depth++));
    auto const results = std::ranges::count(out, TurnKind::kToolResult, &StoredTurn::kind);
    if (results != std::ranges::count(news_, Role::kTool, &chat::Message::role))
        return nothing_new(agent_.config.agent_id, "answers a tool call that the conversation does not wait for");
    if (out.empty()) return nothing_new(agent_.config.agent_id, "ends with an answer: there is nothing new in it");
    return out;
}

core::Task<> ConversationTurn::recall_kept(memory::Path path) {
    std::span<StoredTurn const> const all(path.turns);
    auto const before = said_before(all);
    if (before) {
        question_ = all[before->end - 1];
        auto const found = co_await find_given(*question_);
        if (!found || replayed_) co_return found;
        if (!before->is_answered) { // the same turn, taken up again
            show_path(all.first(before->begin), path.summaries);
            co_return core::Result<>();
        }
    }
    auto news = news_behind(all);
    if (!news) co_return news.error();
    storing_ = std::make_shared<Storing>(*this, context_, executor_);
    storing_->turns = std::move(*news);
    question_ = storing_->turns.back();
    show_path(all, path.summaries);
    co_return core::Result<>();
}

// Where on the path all of this was said before: under the same Idempotency-Key anywhere, else at its end, or just
// before its last answer.
std::optional<ConversationTurn::Said> ConversationTurn::said_before(std::span<StoredTurn const> path) const {
    auto const count = static_cast<std::size_t>(std::ranges::count_if(news_, std::not_fn(is_system)));
    auto const keyed = same_key(path);
    bool const is_answered = !path.empty() && path.back().kind == TurnKind::kAnswer;
    auto const end = keyed != 0 ? keyed : path.size() - (is_answered ? 1 : 0);
    if (count == 0 || end < count) return std::nullopt;
    Said const said{end - count, end, end < path.size() && path[end].kind == TurnKind::kAnswer};
    auto const again = news_behind(path.first(said.begin), path[said.begin].parent);
    auto const there = path.subspan(said.begin, count);
    if (!again || !std::ranges::equal(*again, there, {}, &StoredTurn::id, &StoredTurn::id)) return std::nullopt;
    return said;
}

// One behind the last turn that came with the key of this request; 0 = there is none.
std::size_t ConversationTurn::same_key(std::span<StoredTurn const> path) const {
    if (ask_.idempotency_key.empty()) return 0;
    auto const has_key = [this](StoredTurn const& turn) {
        return turn.kind != TurnKind::kAnswer && turn.idempotency_key == ask_.idempotency_key;
    };
    auto const found = std::find_if(path.rbegin(), path.rend(), has_key);
    return static_cast<std::size_t>(path.rend() - found);
}

// The path, then the new messages. The request's system messages lead, as they do everywhere.
void ConversationTurn::show_path(std::span<StoredTurn const> path, std::vector<memory::Summary> const& summaries) {
    for (auto const& message : asked_)
        if (is_system(message)) history_.add(message);
    std::vector<memory::TurnId> ids;
    std::vector<std::int64_t> bytes;
    for (auto const& turn : path) {
        ids.push_back(turn.id);
        bytes.push_back(static_cast<std::int64_t>(turn.messages.size()));
    }
    auto const begin = summarised(ids, bytes, summaries);
    if (begin > 0) history_.add_summary(std::ranges::find(summaries, ids[begin - 1], &memory::Summary::turn)->text);
    bool const are_results = std::ranges::find(news_, Role::kTool, &chat::Message::role) != news_.end();
    for (auto i = begin; i < path.size(); ++i) {
        bool const is_last = i + 1 == path.size();
        if (path[i].kind == TurnKind::kInput) history_.close_calls();
        history_.add_stored(path[i], is_last && are_results);
    }
    if (!are_results) history_.close_calls();
    for (auto const& message : news_)
        if (!is_system(message)) history_.add(message);
    show_history();
}

// ---- both

// How many turns a summary stands for; 0 = none is to be used. One that was made for another agent counts only when
// this one's threshold is passed, too.
std::size_t ConversationTurn::summarised(std::vector<memory::TurnId> const& ids, std::vector<std::int64_t> const& bytes,
                                         std::vector<memory::Summary> const& summaries) const {
    auto const& compression = agent_.config.compression;
    if (!compression.enabled || summaries.empty()) return 0;
    std::int64_t bytes_behind = 0;
    for (auto i = ids.size(); i > 0; --i) {
        auto const found = std::ranges::find(summaries, ids[i - 1], &memory::Summary::turn);
        if (found == summaries.end()) {
            bytes_behind += bytes[i - 1];
            continue;
        }
        bool const is_own = found->agent == agent_.config.agent_id;
        return is_own || found->tokens + bytes_behind / kBytesPerToken > compression.threshold_tokens ? i : 0;
    }
    return 0;
}

// An SDK that asks again by itself wants the answer that it did not get; a person who says the same wants a new one.
core::Task<> ConversationTurn::find_given(StoredTurn const& question) {
    if (!ask_.is_retry && ask_.idempotency_key.empty()) co_return core::Result<>();
    std::vector<memory::TurnId> parents{question.id};
    auto answers = co_await store_.answers(context_, ask_.key, std::move(parents));
    if (!answers) co_return answers.error();
    for (auto& answer : *answers) {
        if (answer.agent != agent_.config.agent_id) continue;
        bool const same_key = !ask_.idempotency_key.empty() && answer.idempotency_key == ask_.idempotency_key;
        bool const is_awaited = ask_.is_retry && answer.created_ms >= question.asked_ms &&
                                answer.created_ms >= ask_.now_ms - kRetriedWithinMs;
        if (!same_key && !is_awaited) continue;
        replayed_ = std::move(answer);
        break;
    }
    co_return core::Result<>();
}

StoredTurn ConversationTurn::to_store(memory::Turn const& turn, std::span<chat::Message const> messages,
                                      std::int64_t depth) const {
    StoredTurn out;
    out.kind = turn.kind;
    out.id = turn.id;
    out.parent = turn.parent;
    out.depth = depth;
    out.agent = agent_.config.agent_id;
    out.asked_ms = ask_.is_retry ? 0 : ask_.now_ms;
    out.idempotency_key = ask_.idempotency_key;
    if (turn.kind == TurnKind::kInput && turn.last == messages.size()) out.client_id = ask_.question_id;
    for (auto i = turn.first; i < turn.last; ++i) {
        if (is_system(messages[i])) continue;
        out.messages += out.messages.empty() ? "[" : ",";
        out.messages += messages[i].json;
    }
    out.messages += out.messages.empty() ? "[]" : "]";
    return out;
}

} // namespace parley::agents

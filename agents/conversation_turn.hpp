// One request's part in its conversation: what the store knows of it, what the model is shown, and what is stored of
// it. Owned by the request, on its loop.
//
// Who says what was said before? In *client* history the request does: its turns are looked up, the new ones are added,
// an edit is a branch. In *server* history the store does: the new messages of the request go behind what came last.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agents/answer_record.hpp"
#include "agents/catalogue.hpp"
#include "agents/model_history.hpp"
#include "agents/summariser.hpp"
#include "chat/turn.hpp"
#include "core/context.hpp"
#include "core/task.hpp"
#include "memory/conversation_store.hpp"

namespace parley::agents {

/// What the client told of its conversation besides the messages.
struct ConversationAsk {
    memory::ConversationKey key;
    bool resends = false;        // a client that is known to send the whole history: Open WebUI
    bool is_retry = false;       // sent again by the client's SDK by itself: X-Stainless-Retry-Count
    std::string idempotency_key; // Idempotency-Key, empty = none
    // The client's own ids, empty = not told: of the question, of the message before it, and of the answer to come.
    std::string question_id = {};
    std::string parent_id = {};
    std::string answer_id = {};
    std::int64_t now_ms = 0; // since 1970
};

/// True when the agent keeps conversations at all (`resources`).
bool has_memory(AgentConfig const& agent);

class ConversationTurn {
public:
    /// All references outlive it; so does what `asked` points to.
    ConversationTurn(memory::ConversationStore& store, core::Context const& context, Agent const& agent,
                     chat::Turn const& asked, ConversationAsk ask, core::Executor const& executor);
    ~ConversationTurn();
    ConversationTurn(ConversationTurn const&) = delete;
    ConversationTurn& operator=(ConversationTurn const&) = delete;

    /// Reads the store and settles whose history counts. Errors: those of the store; kInvalidValue for a request that
    /// adds nothing, or answers a call that nobody made.
    core::Task<> recall();

    /// The answer that this very request was given before; nullptr = it is to be answered now.
    memory::StoredTurn const* given_before() const noexcept { return replayed_ ? &*replayed_ : nullptr; }

    /// As the model is to be asked. Valid as long as this.
    chat::Turn const& turn() const noexcept { return turn_; }

    /// Begins to store what the client said, while the model is asked. Once.
    void begin_storing();

    /// Waits until that is stored. Errors: those of the store, kCancelled of the context.
    core::Task<> stored();

    /// As stored(), whatever the context says: nothing must be under way when this dies.
    core::Awaitable<void> settled();

    /// The model will not be asked again, and all that the client said is stored: what it was shown need not be kept.
    void let_go_of_history() noexcept;

    /// Stores the answer; until it returns, nobody may be told that the answer is whole. `messages`: all rounds; empty
    /// = those of the record. Errors: those of the store.
    core::Task<> store_answer(AnswerRecord const& record, std::vector<LoopMessage> messages);

    /// Of the answer that was stored; nullopt: there is none.
    std::optional<ContextUse> const& context_use() const noexcept { return context_use_; }

private:
    struct Storing;
    struct Said { // places on a path
        std::size_t begin = 0;
        std::size_t end = 0; // one behind
        bool is_answered = false;
    };

    core::Task<bool> client_tells(memory::Path const& path) const;
    core::Task<> recall_told();
    core::Task<bool> recall_behind_parent(memory::Turn const& parent);
    core::Task<> recall_kept(memory::Path path);
    std::optional<Said> said_before(std::span<memory::StoredTurn const> path) const;
    std::size_t same_key(std::span<memory::StoredTurn const> path) const;
    core::Task<> find_given(memory::StoredTurn const& question);
    void show_path(std::span<memory::StoredTurn const> path, std::vector<memory::Summary> const& summaries);
    void show_told(std::vector<memory::Turn> const& turns, memory::Found const& known);
    void show_told_turn(memory::Turn const& turn, memory::StoredTurn const* stored, bool is_awaited);
    std::size_t summarised(std::vector<memory::TurnId> const& ids, std::vector<std::int64_t> const& bytes,
                           std::vector<memory::Summary> const& summaries) const;
    void show_history();
    core::Result<std::vector<memory::StoredTurn>> news_behind(std::span<memory::StoredTurn const> path) const;
    core::Result<std::vector<memory::StoredTurn>> news_behind(std::span<memory::StoredTurn const> path,
                                                              memory::TurnId const& parent) const;
    memory::StoredTurn to_store(memory::Turn const& turn, std::span<chat::Message const> messages,
                                std::int64_t depth) const;
    static core::Awaitable<void> store(std::shared_ptr<Storing> storing);
    static core::Task<> append(std::shared_ptr<Storing> storing);

    memory::ConversationStore& store_;
    core::Context const& context_;
    Agent const& agent_;
    chat::Turn turn_;
    ConversationAsk ask_;
    core::Executor executor_;
    std::span<chat::Message const> asked_;  // as the client sent it
    std::span<chat::Message const> news_;   // behind the last answer in it
    std::vector<std::string> client_tools_; // names
    std::optional<std::int64_t> expires_ms_;
    ModelHistory history_;
    std::int64_t bytes_shown_ = 0;
    std::optional<memory::StoredTurn> replayed_;
    std::optional<memory::StoredTurn> question_; // what is answered; nullopt: there is nothing to remember
    std::optional<ContextUse> context_use_;
    std::shared_ptr<Storing> storing_; // null: all that the client said is stored
};

} // namespace parley::agents

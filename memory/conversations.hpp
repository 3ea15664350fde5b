// Conversations in the store: who may see which, their turns, and the two ways in which they grow. Stateless; one for
// each loop, over its Database.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/context.hpp"
#include "core/task.hpp"
#include "memory/turn_path.hpp"
#include "storage/database.hpp"

namespace parley::memory {

/// Whose conversation, and which. All three are in every key: another principal's `session` of the same name is another
/// conversation.
struct ConversationKey {
    std::string tenant;
    std::string principal;
    std::string session;
};

struct StoredTurn {
    TurnKind kind = TurnKind::kInput;
    TurnId id = kRoot;
    TurnId parent = kRoot;
    std::int64_t depth = 0; // turns before it on its path
    std::string messages;   // JSON array, OpenAI's form, as the model is to see them
    // of answers; of a user's turn, the agent that was asked
    std::string agent = {};
    std::string idempotency_key = {}; // of the request that made it
    std::string finish = {};          // finish_reason
    std::string model = {};           // that answered
    std::int64_t prompt_tokens = 0;
    std::int64_t completion_tokens = 0;
    std::int64_t created_ms = 0; // since 1970
};

struct ConversationInfo {
    std::string session;
    std::int64_t turns = 0; // all branches
    std::int64_t created_ms = 0;
    std::int64_t updated_ms = 0;
};

class Conversations {
public:
    using Now = std::function<std::int64_t()>; // milliseconds since 1970

    /// `database` outlives it.
    Conversations(storage::Database& database, Now now) : database_(database), now_(std::move(now)) {}

    // Errors of all: those of storage::Database.

    /// Those of these turns that are stored, in no order.
    core::Task<std::vector<StoredTurn>> find(core::Context const& context, ConversationKey key,
                                             std::vector<TurnId> ids);

    /// From the first turn to the one that came last; empty for a conversation that is not there.
    core::Task<std::vector<StoredTurn>> path(core::Context const& context, ConversationKey key);

    /// All branches, parents before their children.
    core::Task<std::vector<StoredTurn>> tree(core::Context const& context, ConversationKey key);

    /// The answers to a turn, the latest first.
    core::Task<std::vector<StoredTurn>> answers(core::Context const& context, ConversationKey key, TurnId parent);

    /// The client tells the path: stores the turns that are new, each the child of the one before, and takes the last
    /// as the one that came last. Makes the conversation if it is not there. Doing it twice changes nothing.
    core::Task<> follow(core::Context const& context, ConversationKey key, std::vector<StoredTurn> turns,
                        std::optional<std::int64_t> expires_ms);

    /// The store tells the path: puts a turn behind the one that came last, if that is still its parent. false = it is
    /// not: read the path again. Two that say the same at the same moment say it once.
    core::Task<bool> append(core::Context const& context, ConversationKey key, StoredTurn turn,
                            std::optional<std::int64_t> expires_ms);

    /// Of a principal, the one changed last first. `before_ms`: only those changed before.
    core::Task<std::vector<ConversationInfo>> list(core::Context const& context, std::string tenant,
                                                   std::string principal, std::int64_t before_ms, std::int64_t limit);

    /// One conversation and all its turns. false = there was none.
    core::Task<bool> erase(core::Context const& context, ConversationKey key);

    /// All of a principal. How many conversations there were.
    core::Task<std::int64_t> erase_all(core::Context const& context, std::string tenant, std::string principal);

    /// Conversations whose time is over, `limit` of them at most. How many there were.
    core::Task<std::int64_t> erase_expired(core::Context const& context, std::int64_t limit);

private:
    storage::Statement insert(ConversationKey const& key, StoredTurn const& turn) const;

    storage::Database& database_;
    Now now_;
};

} // namespace parley::memory

// What is kept of conversations: who may see which, their turns, and the two ways in which they grow. The face that
// agents/ and server/ see. One for each loop, used on it only; any number of coroutines may use it at once.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "core/context.hpp"
#include "core/task.hpp"
#include "memory/turn_path.hpp"

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
    std::int64_t asked_ms = 0;   // when it was asked last; of a user's turn: apart from retries
    std::string client_id = {};  // the client's own id of the message, empty = it has not told
};

/// What a model is shown in place of all that was said up to and with a turn.
struct Summary {
    TurnId turn = kRoot;
    std::string text = {};
    std::string agent = {};      // for which it was made
    std::int64_t tokens = 0;     // of what it stands for, estimated
    std::int64_t created_ms = 0; // since 1970; 0 when it is stored: now
};

/// From the first turn to the one that came last; no turns for a conversation that is not there. An answer that came
/// when the next question had been asked is a branch in the tree; here it stands behind what it answers.
struct Path {
    std::vector<StoredTurn> turns;
    bool resent = false;                         // the client has been seen to send its history again
    std::vector<Summary> summaries = {};         // of all branches
    std::optional<std::int64_t> expires_ms = {}; // since 1970; nullopt = never
};

struct Found {
    std::vector<StoredTurn> turns;
    std::vector<Summary> summaries = {};
};

struct ConversationInfo {
    std::string principal;
    std::string session;
    std::int64_t turns = 0; // all branches
    std::int64_t created_ms = 0;
    std::int64_t updated_ms = 0;
};

/// The last one of a page of a list, behind which the next page begins. Several may have changed in one millisecond.
struct ListPlace {
    std::int64_t updated_ms = std::numeric_limits<std::int64_t>::max();
    std::string session = {};
};

class ConversationStore {
public:
    virtual ~ConversationStore() = default;

    // Errors of all: kStoreUnavailable (worth another attempt later), kCancelled and kDeadlineExceeded of the context.
    // What changes something is carried out once begun, also if the context is cancelled.

    /// Those of these turns that are stored, in no order.
    virtual core::Task<Found> find(core::Context const& context, ConversationKey key, std::vector<TurnId> ids) = 0;

    virtual core::Task<Path> path(core::Context const& context, ConversationKey key) = 0;

    /// The path to the turn that the client calls so; no turns if there is none.
    virtual core::Task<Path> path_to(core::Context const& context, ConversationKey key, std::string client_id) = 0;

    /// All branches, parents before their children.
    virtual core::Task<Found> tree(core::Context const& context, ConversationKey key) = 0;

    /// The answers to these turns, the latest first.
    virtual core::Task<std::vector<StoredTurn>> answers(core::Context const& context, ConversationKey key,
                                                        std::vector<TurnId> parents) = 0;

    /// The client tells the path: stores the turns that are new, each the child of the one before, and takes the last
    /// as the one that came last. Makes the conversation if it is not there. Doing it twice changes nothing. `resent`:
    /// the request shows that this client sends its history again.
    virtual core::Task<> follow(core::Context const& context, ConversationKey key, std::vector<StoredTurn> turns,
                                bool resent, std::optional<std::int64_t> expires_ms) = 0;

    /// The store tells the path: puts turns, each the child of the one before, behind the one that came last, if that
    /// is still the parent of the first. false = it is not: read the path again. Two that say the same at the same
    /// moment say it once.
    virtual core::Task<bool> append(core::Context const& context, ConversationKey key, std::vector<StoredTurn> turns,
                                    std::optional<std::int64_t> expires_ms) = 0;

    /// Stores an answer, and takes it as the turn that came last unless another one came meanwhile. false = what it
    /// answers is gone: the conversation was erased.
    virtual core::Task<bool> answer(core::Context const& context, ConversationKey key, StoredTurn turn,
                                    std::optional<std::int64_t> expires_ms) = 0;

    /// Keeps a summary beside its turn; a later one of the same turn takes its place. false = the turn is gone.
    virtual core::Task<bool> summarise(core::Context const& context, ConversationKey key, Summary summary) = 0;

    /// Of a principal, nullopt = of all; the one changed last first, from behind `after` on.
    virtual core::Task<std::vector<ConversationInfo>> list(core::Context const& context, std::string tenant,
                                                           std::optional<std::string> principal, ListPlace after,
                                                           std::int64_t limit) = 0;

    /// The same in the order of their names, which do not change while somebody goes through them all. `after` is a
    /// key, empty to begin with.
    virtual core::Task<std::vector<ConversationInfo>> list_by_name(core::Context const& context,
                                                                   std::optional<std::string> principal,
                                                                   ConversationKey after, std::int64_t limit) = 0;

    /// One conversation and all its turns. false = there was none.
    virtual core::Task<bool> erase(core::Context const& context, ConversationKey key) = 0;

    /// All of a principal. How many conversations there were.
    virtual core::Task<std::int64_t> erase_all(core::Context const& context, std::string tenant,
                                               std::string principal) = 0;

    /// Conversations whose time is over, `limit` of them at most. How many there were.
    virtual core::Task<std::int64_t> erase_expired(core::Context const& context, std::int64_t limit) = 0;
};

} // namespace parley::memory

// Conversations in the database. Stateless; one for each loop, over its Database.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "memory/conversation_store.hpp"
#include "storage/database.hpp"

namespace parley::memory {

class Conversations final : public ConversationStore {
public:
    using Now = std::function<std::int64_t()>; // milliseconds since 1970

    /// `database` outlives it.
    Conversations(storage::Database& database, Now now) : database_(database), now_(std::move(now)) {}

    core::Task<Found> find(core::Context const& context, ConversationKey key, std::vector<TurnId> ids) override;
    core::Task<Path> path(core::Context const& context, ConversationKey key) override;
    core::Task<Path> path_to(core::Context const& context, ConversationKey key, std::string client_id) override;
    core::Task<Found> tree(core::Context const& context, ConversationKey key) override;
    core::Task<std::vector<StoredTurn>> answers(core::Context const& context, ConversationKey key,
                                                std::vector<TurnId> parents) override;
    core::Task<> follow(core::Context const& context, ConversationKey key, std::vector<StoredTurn> turns, bool resent,
                        std::optional<std::int64_t> expires_ms) override;
    core::Task<bool> append(core::Context const& context, ConversationKey key, std::vector<StoredTurn> turns,
                            std::optional<std::int64_t> expires_ms) override;
    core::Task<bool> answer(core::Context const& context, ConversationKey key, StoredTurn turn,
                            std::optional<std::int64_t> expires_ms) override;
    core::Task<bool> summarise(core::Context const& context, ConversationKey key, Summary summary) override;
    core::Task<std::vector<ConversationInfo>> list(core::Context const& context, std::string tenant,
                                                   std::optional<std::string> principal, ListPlace after,
                                                   std::int64_t limit) override;
    core::Task<std::vector<ConversationInfo>> list_by_name(core::Context const& context,
                                                           std::optional<std::string> principal, ConversationKey after,
                                                           std::int64_t limit) override;
    core::Task<bool> erase(core::Context const& context, ConversationKey key) override;
    core::Task<std::int64_t> erase_all(core::Context const& context, std::string tenant,
                                       std::string principal) override;
    core::Task<std::int64_t> erase_expired(core::Context const& context, std::int64_t limit) override;

private:
    core::Task<std::vector<ConversationInfo>> infos(core::Context const& context, storage::Statement statement);
    storage::Statement insert(ConversationKey const& key, StoredTurn const& turn) const;
    static storage::Batch erasure(ConversationKey const& key);

    storage::Database& database_;
    Now now_;
};

} // namespace parley::memory

// Keys in the store: made, listed, rotated, revoked. Every change is an entry of the audit log, or it is not made.
// One per loop, used on it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/secret.hpp"
#include "policy/audit_log.hpp"
#include "policy/key_record.hpp"
#include "storage/database.hpp"

namespace parley::policy {

class KeyStore {
public:
    /// `now_ms`: since 1970. `actor`: who makes the changes, for the audit log.
    KeyStore(storage::Database& database, std::function<std::int64_t()> now_ms, std::string actor,
             std::string tenant = {})
        : database_(database),
          audit_(database, tenant),
          now_ms_(std::move(now_ms)),
          actor_(std::move(actor)),
          tenant_(std::move(tenant)) {}

    /// The key itself is told once, here: the store has only its digest.
    struct Made {
        KeyRecord record;
        core::Secret key;
    };

    /// `wanted`: name, role, scopes, limits, expiry. Errors: those of the store.
    core::Task<Made> create(core::Context const& context, KeyRecord wanted);

    /// A new key for the same record; the one before stays valid for `overlap`. Errors: kInvalidValue for an id that
    /// does not exist, is revoked or has expired; kConflict when somebody else was quicker; those of the store.
    core::Task<Made> rotate(core::Context const& context, std::string id, std::chrono::milliseconds overlap);

    /// Errors: as rotate(); one that has expired may be revoked.
    core::Task<> revoke(core::Context const& context, std::string id);

    /// All of them, the oldest first.
    core::Task<std::vector<KeyRecord>> list(core::Context const& context);

    /// A number that is another one after each change.
    core::Task<std::int64_t> version(core::Context const& context);

private:
    core::Task<KeyRecord> usable(core::Context const& context, std::string id);
    AuditLog::Condition unchanged(std::string const& id, std::string_view also = {},
                                  std::optional<storage::Value> value = {}) const;
    storage::Statement count_up(AuditEntry const& entry) const;
    AuditEntry entry(std::string action, std::string const& id, std::string detail) const;

    storage::Database& database_;
    AuditLog audit_;
    std::function<std::int64_t()> now_ms_;
    std::string actor_;
    std::string tenant_;
};

} // namespace parley::policy

// What was done to keys and configuration, as a chain: each entry's digest covers the one before, so that a change,
// a gap or a new order shows. Cutting off the end shows only to who has noted the last digest.
// One per loop, used on it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/hash.hpp"
#include "storage/database.hpp"

namespace parley::policy {

struct AuditEntry {
    std::int64_t seq = 0; // 1, 2, 3 …
    std::int64_t at_ms = 0;
    std::string actor; // who: cli:NAME, gateway
    std::string action;
    std::string subject; // what it was done to
    std::string detail = {};
    std::string previous = {}; // 32 bytes: the digest of the entry before, zeros for the first
    std::string digest = {};   // SHA-256 of all the above
};

/// What `entry.digest` has to be.
std::string audit_digest(AuditEntry const& entry);

/// Makes `statement`, which ends in "WHERE …" so far, happen only together with `entry`.
void guard(storage::Statement& statement, std::string const& tenant, AuditEntry const& entry);

class AuditLog {
public:
    explicit AuditLog(storage::Database& database, std::string tenant = {})
        : database_(database), tenant_(std::move(tenant)) {}

    /// What must be true where an entry is appended: SQL behind WHERE, whose parameters begin at $10.
    struct Condition {
        std::string sql;
        std::vector<storage::Value> values;
    };

    /// Appends an entry, together with the changes that `make` returns for it: all or nothing. Each change
    /// must be guarded by the entry, since somebody else may get its place. Returns the rows of the changes.
    /// Errors: those of Database::write; kConflict when `condition` does not hold; kStoreUnavailable when others are
    /// faster again and again.
    core::Task<std::vector<storage::Rows>> append(core::Context const& context, AuditEntry entry,
                                                  std::function<storage::Batch(AuditEntry const&)> make = {},
                                                  std::optional<Condition> condition = {});

    /// Entries behind `after`, oldest first.
    core::Task<std::vector<AuditEntry>> list(core::Context const& context, std::int64_t after, std::int64_t count);

    struct Verdict {
        std::int64_t entries = 0;
        std::string head = {};    // digest of the last one that fits, hex
        std::string problem = {}; // empty = the whole chain holds
    };
    core::Task<Verdict> verify(core::Context const& context);

private:
    core::Task<AuditEntry> last(core::Context const& context);

    storage::Database& database_;
    std::string tenant_;
};

} // namespace parley::policy

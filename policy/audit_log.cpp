#include "policy/audit_log.hpp"

#include <utility>

#include "core/hex.hpp"

namespace parley::policy {
namespace {

using storage::Batch;
using storage::Blob;
using storage::Rows;
using storage::Statement;

constexpr int kTriesMax = 20; // against others who append at the same time
constexpr std::int64_t kVerifiedAtOnce = 500;
constexpr std::size_t kDigestBytes = 32;
constexpr std::string_view kColumns = "seq, at_ms, actor, action, subject, detail, previous, digest";

std::vector<AuditEntry> entries_in(Rows const& rows) {
    std::vector<AuditEntry> out;
    for (auto const& row : rows.rows) {
        out.push_back({storage::integer(row[0]), storage::integer(row[1]), storage::text(row[2]), storage::text(row[3]),
                       storage::text(row[4]), storage::text(row[5]), storage::bytes(row[6]), storage::bytes(row[7])});
    }
    return out;
}

} // namespace

// Lengths before the texts, so that no two entries are the same bytes.
std::string audit_digest(AuditEntry const& entry) {
    auto text = entry.previous + std::to_string(entry.seq) + ' ' + std::to_string(entry.at_ms);
    for (auto const* const part : {&entry.actor, &entry.action, &entry.subject, &entry.detail})
        text += ' ' + std::to_string(part->size()) + ':' + *part;
    return storage::blob(core::sha256(text)).bytes;
}

void guard(Statement& statement, std::string const& tenant, AuditEntry const& entry) {
    auto const parameter = [&](storage::Value value) {
        statement.values.push_back(std::move(value));
        return '$' + std::to_string(statement.values.size());
    };
    auto const of_tenant = parameter(tenant);
    auto const seq = parameter(entry.seq);
    auto const digest = parameter(Blob{entry.digest});
    statement.sql += " EXISTS (SELECT 1 FROM audit WHERE audit.tenant = " + of_tenant + " AND audit.seq = " + seq +
                     " AND audit.digest = " + digest + ")";
}

core::Task<AuditEntry> AuditLog::last(core::Context const& context) {
    Batch batch;
    batch.push_back(
        {"SELECT " + std::string(kColumns) + " FROM audit WHERE tenant = $1 ORDER BY seq DESC LIMIT 1", {tenant_}});
    auto const rows = co_await database_.read(context, std::move(batch));
    if (!rows) co_return rows.error();
    auto found = entries_in(rows->front());
    if (!found.empty()) co_return std::move(found.front());
    AuditEntry none;
    none.digest.assign(kDigestBytes, '\0');
    co_return none;
}

core::Task<std::vector<Rows>> AuditLog::append(core::Context const& context, AuditEntry entry,
                                               std::function<Batch(AuditEntry const&)> make,
                                               std::optional<Condition> condition) {
    for (int tries = 0; tries < kTriesMax; ++tries) {
        auto const before = co_await last(context);
        if (!before) co_return before.error();
        if (entry.seq == before->seq + 1) // nobody took the place, and yet it was not given
            co_return core::make_error(core::Errc::kConflict, "It was changed by somebody else at the same time.");
        entry.seq = before->seq + 1;
        entry.previous = before->digest;
        entry.digest = audit_digest(entry);
        Batch batch;
        Statement insert{"INSERT INTO audit (tenant, " + std::string(kColumns) +
                             ") SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 WHERE " +
                             (condition ? condition->sql : std::string("1 = 1")) +
                             " ON CONFLICT (tenant, seq) DO NOTHING",
                         {tenant_, entry.seq, entry.at_ms, entry.actor, entry.action, entry.subject, entry.detail,
                          Blob{entry.previous}, Blob{entry.digest}}};
        if (condition) insert.values.insert(insert.values.end(), condition->values.begin(), condition->values.end());
        batch.push_back(std::move(insert));
        if (make) {
            for (auto& change : make(entry))
                batch.push_back(std::move(change));
        }
        Statement is_ours{"SELECT 1 WHERE"};
        guard(is_ours, tenant_, entry);
        batch.push_back(std::move(is_ours));
        auto rows = co_await database_.write(context, std::move(batch));
        if (!rows) co_return rows.error();
        if (rows->back().rows.empty()) continue; // somebody else got the place
        rows->pop_back();
        rows->erase(rows->begin());
        co_return std::move(*rows);
    }
    co_return core::make_error(core::Errc::kStoreUnavailable, "The audit log is being written by too many at once.");
}

core::Task<std::vector<AuditEntry>> AuditLog::list(core::Context const& context, std::int64_t after,
                                                   std::int64_t count) {
    Batch batch;
    batch.push_back(
        {"SELECT " + std::string(kColumns) + " FROM audit WHERE tenant = $1 AND seq > $2 ORDER BY seq LIMIT $3",
         {tenant_, after, count}});
    auto const rows = co_await database_.read(context, std::move(batch));
    if (!rows) co_return rows.error();
    co_return entries_in(rows->front());
}

core::Task<AuditLog::Verdict> AuditLog::verify(core::Context const& context) {
    Verdict verdict;
    std::string head(kDigestBytes, '\0');
    for (;;) {
        auto const some = co_await list(context, verdict.entries, kVerifiedAtOnce);
        if (!some) co_return some.error();
        for (auto const& entry : *some) {
            if (entry.seq != verdict.entries + 1) {
                verdict.problem = "entry " + std::to_string(verdict.entries + 1) + " is missing";
            } else if (entry.previous != head) {
                verdict.problem = "entry " + std::to_string(entry.seq) + " does not follow the one before it";
            } else if (entry.digest != audit_digest(entry)) {
                verdict.problem = "entry " + std::to_string(entry.seq) + " was changed";
            }
            if (!verdict.problem.empty()) break;
            head = entry.digest;
            ++verdict.entries;
        }
        if (some->empty() || !verdict.problem.empty()) break;
    }
    verdict.head = core::hex(head);
    co_return verdict;
}

} // namespace parley::policy

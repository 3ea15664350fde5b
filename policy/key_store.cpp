#include "policy/key_store.hpp"

#include <algorithm>

#include "core/base64.hpp"
#include "core/hex.hpp"
#include "core/json.hpp"
#include "core/random.hpp"

namespace parley::policy {
namespace {

using storage::Batch;
using storage::Blob;
using storage::Rows;
using storage::Statement;

constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kIdBytes = 6;
constexpr std::string_view kColumns =
    "id, digest, old_digest, old_expires_ms, name, role, agents, routes, requests_per_minute, tokens_per_minute, "
    "budget_tokens, budget_cost, budget_period, created_ms, expires_ms, revoked_ms";

std::string lines(std::vector<std::string> const& words) {
    std::string out;
    for (auto const& word : words)
        out += (out.empty() ? "" : "\n") + word;
    return out;
}

std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
        auto const end = std::min(text.find('\n'), text.size());
        out.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

KeyRecord record_in(std::vector<storage::Value> const& row) {
    KeyRecord record;
    record.id = storage::text(row[0]);
    record.digest = storage::digest(row[1]);
    if (!storage::bytes(row[2]).empty()) record.old_digest = storage::digest(row[2]);
    record.old_expires_ms = storage::integer(row[3]);
    record.name = storage::text(row[4]);
    record.role = role_of(storage::text(row[5])).value_or(Role::kViewer); // of a newer version: the least there is
    record.agents = words_of(storage::text(row[6]));
    record.routes = words_of(storage::text(row[7]));
    record.limits = {storage::integer(row[8]), storage::integer(row[9]), storage::integer(row[10]),
                     storage::integer(row[11]), period_of(storage::text(row[12])).value_or(Period::kTotal)};
    record.created_ms = storage::integer(row[13]);
    record.expires_ms = storage::integer(row[14]);
    record.revoked_ms = storage::integer(row[15]);
    return record;
}

// The id in the key tells people, and scanners for leaked keys, which one it is.
core::Secret make_key(std::string const& id) {
    return core::Secret("sk-parley-" + id.substr(2) + "-" + core::base64url(core::random_bytes(kSecretBytes)));
}

std::string make_id() {
    return "k_" + core::hex(core::random_bytes(kIdBytes));
}

// A text that could be taken for something else than one value is quoted as in JSON.
std::string quoted(std::string_view text) {
    auto const is_plain = std::ranges::none_of(
        text, [](char c) { return c <= ' ' || c == '=' || c == ',' || c == '"' || c == '\\' || c == 0x7f; });
    if (is_plain && !text.empty()) return std::string(text);
    std::string out;
    core::append_json_string(out, text);
    return out;
}

std::string described(KeyRecord const& record) {
    auto const& limits = record.limits;
    std::string out = "name=" + quoted(record.name) + " role=" + std::string(role_name(record.role));
    auto const add = [&out](std::string_view what, std::string const& value) {
        if (!value.empty() && value != "0") out += " " + std::string(what) + "=" + value;
    };
    auto const joined = [](std::vector<std::string> const& words) {
        std::string text;
        for (auto const& word : words)
            text += (text.empty() ? "" : ",") + quoted(word);
        return text;
    };
    add("agents", joined(record.agents));
    add("routes", joined(record.routes));
    add("requests_per_minute", std::to_string(limits.requests_per_minute));
    add("tokens_per_minute", std::to_string(limits.tokens_per_minute));
    add("budget_tokens", std::to_string(limits.budget_tokens));
    add("budget_cost_microusd", std::to_string(limits.budget_cost));
    if (limits.budget_tokens != 0 || limits.budget_cost != 0)
        add("budget_period", std::string(period_name(limits.budget_period)));
    add("expires_ms", std::to_string(record.expires_ms));
    return out;
}

core::Error told_of(core::Error error, std::string const& id) {
    if (error.code == core::Errc::kConflict)
        error.message = "key '" + id + "' was changed by somebody else at the same time: nothing was done";
    return error;
}

} // namespace

AuditEntry KeyStore::entry(std::string action, std::string const& id, std::string detail) const {
    AuditEntry made;
    made.at_ms = now_ms_();
    made.actor = actor_;
    made.action = std::move(action);
    made.subject = id;
    made.detail = std::move(detail);
    return made;
}

// The entry's place in the log is a number that only grows. It may be set twice.
Statement KeyStore::count_up(AuditEntry const& entry) const {
    Statement statement{"INSERT INTO versions (tenant, name, number) SELECT $1, 'keys', $2 WHERE",
                        {tenant_, entry.seq}};
    guard(statement, tenant_, entry);
    statement.sql +=
        " ON CONFLICT (tenant, name) DO UPDATE SET number = excluded.number WHERE versions.number < "
        "excluded.number";
    return statement;
}

core::Task<KeyStore::Made> KeyStore::create(core::Context const& context, KeyRecord wanted) {
    auto record = std::move(wanted);
    record.id = make_id();
    auto key = make_key(record.id);
    record.digest = core::sha256(key.reveal());
    record.created_ms = now_ms_();
    auto const insert_it = [&](AuditEntry const& entry) {
        auto const& limits = record.limits;
        Statement insert{
            "INSERT INTO api_keys (tenant, " + std::string(kColumns) +
                ") SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17 "
                "WHERE",
            {tenant_, record.id, storage::blob(record.digest), Blob{}, record.old_expires_ms, record.name,
             std::string(role_name(record.role)), lines(record.agents), lines(record.routes),
             limits.requests_per_minute, limits.tokens_per_minute, limits.budget_tokens, limits.budget_cost,
             std::string(period_name(limits.budget_period)), record.created_ms, record.expires_ms, record.revoked_ms}};
        guard(insert, tenant_, entry);
        insert.sql += " ON CONFLICT (tenant, id) DO NOTHING";
        return Batch{std::move(insert), count_up(entry)};
    };
    auto const made = co_await audit_.append(context, entry("key.create", record.id, described(record)), insert_it);
    if (!made) co_return made.error();
    co_return Made{std::move(record), std::move(key)};
}

core::Task<KeyRecord> KeyStore::usable(core::Context const& context, std::string id) {
    auto const all = co_await list(context);
    if (!all) co_return all.error();
    auto const found = std::ranges::find(*all, id, &KeyRecord::id);
    if (found == all->end()) co_return core::make_error(core::Errc::kInvalidValue, "there is no key '" + id + "'");
    if (found->revoked_ms != 0) co_return core::make_error(core::Errc::kInvalidValue, "key '" + id + "' is revoked");
    co_return *found;
}

// The entry is there only if the change is: the key as it was read, and not revoked.
AuditLog::Condition KeyStore::unchanged(std::string const& id, std::string_view also,
                                        std::optional<storage::Value> value) const {
    AuditLog::Condition condition{
        "EXISTS (SELECT 1 FROM api_keys WHERE tenant = $10 AND id = $11 AND revoked_ms = 0" + std::string(also) + ")",
        {tenant_, id}};
    if (value) condition.values.push_back(std::move(*value));
    return condition;
}

core::Task<KeyStore::Made> KeyStore::rotate(core::Context const& context, std::string id,
                                            std::chrono::milliseconds overlap) {
    auto record = co_await usable(context, id);
    if (!record) co_return record.error();
    if (record->state(now_ms_()) == "expired") {
        co_return core::make_error(core::Errc::kInvalidValue,
                                   "key '" + id + "' has expired, and so would a new one in its place: create another");
    }
    auto key = make_key(id);
    record->old_digest = record->digest;
    record->digest = core::sha256(key.reveal());
    record->old_expires_ms = now_ms_() + overlap.count();
    auto const replace_it = [&](AuditEntry const& entry) {
        // Compared with what it replaces: two rotations at once must not lose one of the keys that were told.
        Statement update{
            "UPDATE api_keys SET old_digest = digest, digest = $1, old_expires_ms = $2 "
            "WHERE tenant = $3 AND id = $4 AND digest = $5 AND revoked_ms = 0 AND",
            {storage::blob(record->digest), record->old_expires_ms, tenant_, id, storage::blob(*record->old_digest)}};
        guard(update, tenant_, entry);
        return Batch{std::move(update), count_up(entry)};
    };
    // With something of the new key: two entries of one moment must not be the same, or both are taken for the one
    // there.
    auto const digest = core::hex(storage::blob(record->digest).bytes).substr(0, 16);
    auto told =
        entry("key.rotate", id, "old_expires_ms=" + std::to_string(record->old_expires_ms) + " digest=" + digest);
    auto const made = co_await audit_.append(context, std::move(told), replace_it,
                                             unchanged(id, " AND digest = $12", storage::blob(*record->old_digest)));
    if (!made) co_return told_of(made.error(), id);
    co_return Made{std::move(*record), std::move(key)};
}

core::Task<> KeyStore::revoke(core::Context const& context, std::string id) {
    auto const record = co_await usable(context, id);
    if (!record) co_return record.error();
    auto const now = now_ms_();
    auto const end_it = [&](AuditEntry const& entry) {
        Statement update{"UPDATE api_keys SET revoked_ms = $1 WHERE tenant = $2 AND id = $3 AND revoked_ms = 0 AND",
                         {now, tenant_, id}};
        guard(update, tenant_, entry);
        return Batch{std::move(update), count_up(entry)};
    };
    auto const made = co_await audit_.append(context, entry("key.revoke", id, ""), end_it, unchanged(id));
    if (!made) co_return told_of(made.error(), id);
    co_return core::Result<>();
}

core::Task<std::vector<KeyRecord>> KeyStore::list(core::Context const& context) {
    Batch batch;
    batch.push_back(
        {"SELECT " + std::string(kColumns) + " FROM api_keys WHERE tenant = $1 ORDER BY created_ms, id", {tenant_}});
    auto const rows = co_await database_.read(context, std::move(batch));
    if (!rows) co_return rows.error();
    std::vector<KeyRecord> records;
    for (auto const& row : rows->front().rows)
        records.push_back(record_in(row));
    co_return records;
}

core::Task<std::int64_t> KeyStore::version(core::Context const& context) {
    Batch batch;
    batch.push_back({"SELECT number FROM versions WHERE tenant = $1 AND name = 'keys'", {tenant_}});
    auto const rows = co_await database_.read(context, std::move(batch));
    if (!rows) co_return rows.error();
    auto const& found = rows->front().rows;
    co_return found.empty() ? std::int64_t{0} : storage::integer(found.front().front());
}

} // namespace parley::policy

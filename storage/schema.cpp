#include "storage/schema.hpp"

#include <array>
#include <string>

namespace parley::storage {
namespace {

// 1. Conversations. `tenant` leads every key, so that a distributed Postgres can spread the tables by it.
//    conversations.id is a digest of tenant, principal and session: whoever has no right to a conversation does not
//    have its key. A turn's id is a digest of its parent's id and its content (memory/); head is the turn that came
//    last. Both are 32 zeros where there is none. resent: 1 once the client has been seen to send its history again.
//    asked_ms: when a turn was asked for the last time, apart from retries; 0 for what was not asked.
//    client_id: what the client calls the message, if it tells. summaries: of all that was said up to and with a turn;
//    tokens is what a model would need for the original.
constexpr std::string_view kConversations = R"sql(
CREATE TABLE conversations (
    tenant TEXT NOT NULL, principal TEXT NOT NULL, session TEXT NOT NULL,
    id BYTEA NOT NULL, head BYTEA NOT NULL, resent BIGINT NOT NULL,
    created_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL, expires_ms BIGINT,
    PRIMARY KEY (tenant, principal, session));
CREATE INDEX conversations_by_use ON conversations (tenant, principal, updated_ms);
CREATE INDEX conversations_by_expiry ON conversations (expires_ms) WHERE expires_ms IS NOT NULL;
CREATE TABLE turns (
    tenant TEXT NOT NULL, conversation BYTEA NOT NULL, id BYTEA NOT NULL,
    parent BYTEA NOT NULL, depth BIGINT NOT NULL, kind BIGINT NOT NULL, agent TEXT NOT NULL, messages TEXT NOT NULL,
    idempotency_key TEXT NOT NULL, finish TEXT NOT NULL, model TEXT NOT NULL,
    prompt_tokens BIGINT NOT NULL, completion_tokens BIGINT NOT NULL,
    created_ms BIGINT NOT NULL, asked_ms BIGINT NOT NULL, client_id TEXT NOT NULL,
    PRIMARY KEY (tenant, conversation, id));
CREATE TABLE summaries (
    tenant TEXT NOT NULL, conversation BYTEA NOT NULL, turn BYTEA NOT NULL,
    text TEXT NOT NULL, agent TEXT NOT NULL, tokens BIGINT NOT NULL, created_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, conversation, turn));
)sql";

// 2. Who may come in and how much, and what was done about it (policy/). digest: SHA-256 of a whole key; old_digest: of
//    the one that a rotation replaced, valid until old_expires_ms. agents, routes: patterns, one a line, empty = all.
//    Limits and times are 0 where there is none; cost is in millionths of a US dollar. versions: a number that grows
//    with each change, so that gateways can ask cheaply. usage: what a key has had in the current minute and period; a
//    reservation is counted when granted is 1, and is gone when it is settled. audit: each digest covers the one
//    before.
constexpr std::string_view kKeys = R"sql(
CREATE TABLE api_keys (
    tenant TEXT NOT NULL, id TEXT NOT NULL, digest BYTEA NOT NULL,
    old_digest BYTEA NOT NULL, old_expires_ms BIGINT NOT NULL,
    name TEXT NOT NULL, role TEXT NOT NULL, agents TEXT NOT NULL, routes TEXT NOT NULL,
    requests_per_minute BIGINT NOT NULL, tokens_per_minute BIGINT NOT NULL,
    budget_tokens BIGINT NOT NULL, budget_cost BIGINT NOT NULL, budget_period TEXT NOT NULL,
    created_ms BIGINT NOT NULL, expires_ms BIGINT NOT NULL, revoked_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, id));
CREATE TABLE versions (tenant TEXT NOT NULL, name TEXT NOT NULL, number BIGINT NOT NULL, PRIMARY KEY (tenant, name));
CREATE TABLE key_usage (
    tenant TEXT NOT NULL, key_id TEXT NOT NULL, minute BIGINT NOT NULL, requests BIGINT NOT NULL, tokens BIGINT NOT NULL,
    period BIGINT NOT NULL, spent_tokens BIGINT NOT NULL, spent_cost BIGINT NOT NULL, last_reservation TEXT NOT NULL,
    PRIMARY KEY (tenant, key_id));
CREATE TABLE reservations (
    tenant TEXT NOT NULL, id TEXT NOT NULL, granted BIGINT NOT NULL, created_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, id));
CREATE TABLE audit (
    tenant TEXT NOT NULL, seq BIGINT NOT NULL, at_ms BIGINT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
    subject TEXT NOT NULL, detail TEXT NOT NULL, previous BYTEA NOT NULL, digest BYTEA NOT NULL,
    PRIMARY KEY (tenant, seq));
)sql";

constexpr std::array kMigrations{kConversations, kKeys};

} // namespace

std::span<std::string_view const> migrations() noexcept {
    return kMigrations;
}

std::string newer_schema(int found) {
    return "its schema has version " + std::to_string(found) + ", and this program knows " +
           std::to_string(kMigrations.size()) +
           ": it was made by a newer Parley. Run that one, or name another database.";
}

} // namespace parley::storage

#include "memory/conversations.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <span>
#include <utility>

#include "core/hash.hpp"

namespace parley::memory {
namespace {

using storage::Batch;
using storage::Blob;
using storage::Rows;
using storage::Statement;
using storage::Value;

constexpr std::size_t kIdsAtOnce = 500;
constexpr std::int64_t kErasedAtOnce = 200;
constexpr std::string_view kColumns =
    "t.kind, t.id, t.parent, t.depth, t.messages, t.agent, t.idempotency_key, t.finish, t.model, t.prompt_tokens, "
    "t.completion_tokens, t.created_ms, t.asked_ms, t.client_id";
std::string const kInfos =
    "SELECT c.principal, c.session, "
    "(SELECT count(*) FROM turns t WHERE t.tenant = c.tenant AND t.conversation = c.id), "
    "c.created_ms, c.updated_ms FROM conversations c ";
constexpr std::string_view kAskedAgain =
    "ON CONFLICT (tenant, conversation, id) DO UPDATE SET asked_ms = excluded.asked_ms, "
    "idempotency_key = excluded.idempotency_key, client_id = excluded.client_id WHERE turns.asked_ms < "
    "excluded.asked_ms";

// The key of a conversation's turns. Lengths, so that no two keys are the same bytes.
Blob conversation_id(ConversationKey const& key) {
    std::string text;
    for (auto const* const part : {&key.tenant, &key.principal, &key.session})
        text += std::to_string(part->size()) + ":" + *part;
    return storage::blob(core::sha256(text));
}

std::vector<StoredTurn> turns_in(Rows const& rows) {
    std::vector<StoredTurn> out;
    out.reserve(rows.rows.size());
    for (auto const& row : rows.rows) {
        out.push_back({static_cast<TurnKind>(storage::integer(row[0])), storage::digest(row[1]),
                       storage::digest(row[2]), storage::integer(row[3]), storage::text(row[4]), storage::text(row[5]),
                       storage::text(row[6]), storage::text(row[7]), storage::text(row[8]), storage::integer(row[9]),
                       storage::integer(row[10]), storage::integer(row[11]), storage::integer(row[12]),
                       storage::text(row[13])});
    }
    return out;
}

std::vector<StoredTurn> all_turns_in(std::vector<Rows> const& results) {
    std::vector<StoredTurn> out;
    for (auto const& one : results)
        std::ranges::move(turns_in(one), std::back_inserter(out));
    return out;
}

// The turns of a conversation for which `condition` is one of `ids`.
Batch turns_among(ConversationKey const& key, std::string const& condition, std::vector<TurnId> const& ids) {
    Batch batch;
    for (std::size_t from = 0; from < ids.size(); from += kIdsAtOnce) {
        Statement statement{"SELECT " + std::string(kColumns) + " FROM turns t WHERE t.tenant = $1 AND " +
                                "t.conversation = $2 AND " + condition + " IN (",
                            {key.tenant, conversation_id(key)}};
        for (auto i = from; i < std::min(ids.size(), from + kIdsAtOnce); ++i) {
            statement.values.emplace_back(storage::blob(ids[i]));
            statement.sql += (i == from ? "$" : ", $") + std::to_string(statement.values.size());
        }
        statement.sql += ")";
        batch.push_back(std::move(statement));
    }
    return batch;
}

Statement summaries_of(ConversationKey const& key) {
    return {"SELECT turn, text, agent, tokens, created_ms FROM summaries WHERE tenant = $1 AND conversation = $2",
            {key.tenant, conversation_id(key)}};
}

std::vector<Summary> summaries_in(Rows const& rows) {
    std::vector<Summary> out;
    for (auto const& row : rows.rows) {
        out.push_back({storage::digest(row[0]), storage::text(row[1]), storage::text(row[2]), storage::integer(row[3]),
                       storage::integer(row[4])});
    }
    return out;
}

Statement turns_of(ConversationKey const& key) {
    return {"SELECT " + std::string(kColumns) +
                " FROM turns t WHERE t.tenant = $1 AND t.conversation = $2 ORDER BY t.depth, t.created_ms, t.id",
            {key.tenant, conversation_id(key)}};
}

// From the first turn to `head`. `tree`: parents before their children, of siblings the one made last comes last.
std::vector<StoredTurn> path_along(std::vector<StoredTurn> tree, TurnId const& head) {
    std::vector<StoredTurn> path;
    std::map<TurnId, StoredTurn*> answers; // asked for last and made last, by what they answer
    auto wanted = head;
    for (auto turn = tree.rbegin(); turn != tree.rend(); ++turn) {
        if (turn->id != wanted) {
            if (turn->kind != TurnKind::kAnswer) continue;
            auto& latest = answers.try_emplace(turn->parent, &*turn).first->second;
            if (turn->asked_ms > latest->asked_ms) latest = &*turn;
            continue;
        }
        wanted = turn->parent;
        bool const is_overtaken =
            !path.empty() && turn->kind != TurnKind::kAnswer && path.back().kind == TurnKind::kInput;
        auto const late = is_overtaken ? answers.find(turn->id) : answers.end();
        if (late != answers.end()) path.push_back(std::move(*late->second));
        path.push_back(std::move(*turn));
    }
    std::ranges::reverse(path);
    return path;
}

// What an answer with the same words, made anew, brings with it: calls with other arguments, say. Of two that are
// written at the same time the one that was asked for later counts.
std::string renewed_columns() {
    std::string sql;
    for (std::string const column : {"asked_ms", "created_ms", "idempotency_key", "agent", "client_id", "messages",
                                     "finish", "model", "prompt_tokens", "completion_tokens"}) {
        if (!sql.empty()) sql += ", ";
        sql += column + " = CASE WHEN excluded.asked_ms >= turns.asked_ms THEN excluded." + column + " ELSE turns." +
               column + " END";
    }
    return sql;
}

Value or_null(std::optional<std::int64_t> value) {
    return value ? Value(*value) : Value(std::monostate{});
}

std::optional<std::int64_t> integer_or_null(Value const& value) {
    return std::holds_alternative<std::monostate>(value) ? std::nullopt : std::optional(storage::integer(value));
}

} // namespace

core::Task<Found> Conversations::find(core::Context const& context, ConversationKey key, std::vector<TurnId> ids) {
    auto batch = turns_among(key, "t.id", ids);
    batch.push_back(summaries_of(key));
    auto rows = co_await database_.read(context, std::move(batch));
    if (!rows) co_return rows.error();
    Found found{{}, summaries_in(rows->back())};
    rows->pop_back();
    found.turns = all_turns_in(*rows);
    co_return std::move(found);
}

core::Task<std::vector<StoredTurn>> Conversations::answers(core::Context const& context, ConversationKey key,
                                                           std::vector<TurnId> parents) {
    auto const kind = std::to_string(static_cast<int>(TurnKind::kAnswer));
    auto batch = turns_among(key, "t.kind = " + kind + " AND t.parent", parents);
    auto rows = co_await database_.read(context, std::move(batch));
    if (!rows) co_return rows.error();
    auto found = all_turns_in(*rows);
    std::ranges::sort(found, [](StoredTurn const& a, StoredTurn const& b) {
        return a.created_ms != b.created_ms ? a.created_ms > b.created_ms : a.id < b.id;
    });
    co_return std::move(found);
}

// All of the conversation is read, and the path picked here: a recursive query takes Postgres longer to plan than this
// takes in all.
core::Task<Path> Conversations::path(core::Context const& context, ConversationKey key) {
    Batch batch{
        {"SELECT head, resent, expires_ms FROM conversations WHERE tenant = $1 AND principal = $2 AND session = $3",
         {key.tenant, key.principal, key.session}},
        turns_of(key),
        summaries_of(key)};
    auto rows = co_await database_.read(context, std::move(batch));
    if (!rows) co_return rows.error();
    auto const& heads = rows->at(0).rows;
    if (heads.empty()) co_return Path{};
    Path path{path_along(turns_in(rows->at(1)), storage::digest(heads[0][0])), storage::integer(heads[0][1]) == 1,
              summaries_in(rows->at(2)), integer_or_null(heads[0][2])};
    co_return std::move(path);
}

core::Task<Path> Conversations::path_to(core::Context const& context, ConversationKey key, std::string client_id) {
    auto found = co_await tree(context, std::move(key));
    if (!found) co_return found.error();
    Path path;
    auto& turns = found->turns;
    auto const last =
        std::find_if(turns.rbegin(), turns.rend(), [&](StoredTurn const& turn) { return turn.client_id == client_id; });
    if (last == turns.rend()) co_return std::move(path);
    auto const id = last->id;
    path.turns = path_along(std::move(turns), id);
    path.summaries = std::move(found->summaries);
    co_return std::move(path);
}

core::Task<Found> Conversations::tree(core::Context const& context, ConversationKey key) {
    Batch batch{turns_of(key), summaries_of(key)};
    auto rows = co_await database_.read(context, std::move(batch));
    if (!rows) co_return rows.error();
    co_return Found{turns_in(rows->at(0)), summaries_in(rows->at(1))};
}

Statement Conversations::insert(ConversationKey const& key, StoredTurn const& turn) const {
    auto const created = turn.created_ms != 0 ? turn.created_ms : now_();
    return {
        "INSERT INTO turns (tenant, conversation, id, parent, depth, kind, agent, messages, idempotency_key, finish, "
        "model, prompt_tokens, completion_tokens, created_ms, asked_ms, client_id) "
        "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16 ",
        {key.tenant, conversation_id(key), storage::blob(turn.id), storage::blob(turn.parent), turn.depth,
         static_cast<std::int64_t>(turn.kind), turn.agent, turn.messages, turn.idempotency_key, turn.finish, turn.model,
         turn.prompt_tokens, turn.completion_tokens, created, turn.asked_ms, turn.client_id}};
}

core::Task<> Conversations::follow(core::Context const& context, ConversationKey key, std::vector<StoredTurn> turns,
                                   bool resent, std::optional<std::int64_t> expires_ms) {
    if (turns.empty()) co_return core::Result<>();
    Batch batch{
        {"INSERT INTO conversations (tenant, principal, session, head, resent, created_ms, updated_ms, expires_ms, id) "
         "VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8) ON CONFLICT (tenant, principal, session) DO UPDATE "
         "SET head = excluded.head, updated_ms = excluded.updated_ms, expires_ms = excluded.expires_ms, "
         "resent = CASE WHEN excluded.resent = 1 THEN 1 ELSE conversations.resent END",
         {key.tenant, key.principal, key.session, storage::blob(turns.back().id), std::int64_t{resent ? 1 : 0}, now_(),
          or_null(expires_ms), conversation_id(key)}}};
    for (auto const& turn : turns) {
        auto statement = insert(key, turn);
        statement.sql += "WHERE true ";
        statement.sql += kAskedAgain;
        batch.push_back(std::move(statement));
    }
    auto const written = co_await database_.write(context, std::move(batch));
    if (!written) co_return written.error();
    co_return core::Result<>();
}

core::Task<bool> Conversations::append(core::Context const& context, ConversationKey key, std::vector<StoredTurn> turns,
                                       std::optional<std::int64_t> expires_ms) {
    auto const last = storage::blob(turns.back().id);
    Statement move{
        "UPDATE conversations SET head = $4, updated_ms = $5, expires_ms = $6 "
        "WHERE tenant = $1 AND principal = $2 AND session = $3 AND head = $7",
        {key.tenant, key.principal, key.session, last, now_(), or_null(expires_ms),
         storage::blob(turns.front().parent)}};
    if (turns.front().parent == kRoot) {
        move.sql =
            "INSERT INTO conversations (tenant, principal, session, head, resent, created_ms, updated_ms, expires_ms, "
            "id) "
            "VALUES ($1, $2, $3, $4, 0, $5, $5, $6, $8) ON CONFLICT (tenant, principal, session) DO UPDATE "
            "SET head = excluded.head, updated_ms = excluded.updated_ms, expires_ms = excluded.expires_ms "
            "WHERE conversations.head = $7";
        move.values.emplace_back(conversation_id(key));
    }
    Batch batch{std::move(move)};
    for (auto const& turn : turns) { // only if we have moved the head: else it would be a branch that nobody asked for
        auto statement = insert(key, turn);
        for (auto const& value : {Value(key.principal), Value(key.session), Value(last)})
            statement.values.push_back(value);
        statement.sql +=
            "FROM conversations c WHERE c.tenant = $1 AND c.principal = $17 AND c.session = $18 AND c.head = $19 ";
        statement.sql += kAskedAgain;
        batch.push_back(std::move(statement));
    }
    batch.push_back({"SELECT count(*) FROM turns WHERE tenant = $1 AND conversation = $2 AND id = $3",
                     {key.tenant, conversation_id(key), last}});
    auto const written = co_await database_.write(context, std::move(batch));
    if (!written) co_return written.error();
    co_return storage::integer(written->back().rows.at(0).at(0)) == 1;
}

core::Task<bool> Conversations::answer(core::Context const& context, ConversationKey key, StoredTurn turn,
                                       std::optional<std::int64_t> expires_ms) {
    Batch batch{{"UPDATE conversations SET head = CASE WHEN head = $4 THEN $5 ELSE head END, updated_ms = $6, "
                 "expires_ms = $7 WHERE tenant = $1 AND principal = $2 AND session = $3",
                 {key.tenant, key.principal, key.session, storage::blob(turn.parent), storage::blob(turn.id), now_(),
                  or_null(expires_ms)}},
                // Of two answers to one question the one that was asked for later is the one that is gone on from,
                // whichever is written first: who asked for the other one has left. A statement of its own, so that
                // Postgres looks once more when it has the conversation's row.
                {"UPDATE conversations SET head = $4 WHERE tenant = $1 AND principal = $2 AND session = $3 AND EXISTS "
                 "(SELECT 1 FROM turns t WHERE t.tenant = $1 AND t.conversation = $5 AND t.id = conversations.head AND "
                 "t.parent = $6 AND t.kind = $7 AND t.asked_ms < $8)",
                 {key.tenant, key.principal, key.session, storage::blob(turn.id), conversation_id(key),
                  storage::blob(turn.parent), static_cast<std::int64_t>(TurnKind::kAnswer), turn.asked_ms}}};
    auto statement = insert(key, turn);
    // The same words again, made anew: it is the latest now.
    statement.sql +=
        "FROM turns p WHERE p.tenant = $1 AND p.conversation = $2 AND p.id = $4 "
        "ON CONFLICT (tenant, conversation, id) DO UPDATE SET " +
        renewed_columns();
    batch.push_back(std::move(statement));
    auto const written = co_await database_.write(context, std::move(batch));
    if (!written) co_return written.error();
    co_return written->back().changed == 1;
}

core::Task<bool> Conversations::summarise(core::Context const& context, ConversationKey key, Summary summary) {
    auto const created = summary.created_ms != 0 ? summary.created_ms : now_();
    Batch batch{
        // Takes hold of the conversation, so that it cannot be erased meanwhile.
        {"UPDATE conversations SET updated_ms = updated_ms WHERE tenant = $1 AND principal = $2 AND session = $3",
         {key.tenant, key.principal, key.session}},
        {"INSERT INTO summaries (tenant, conversation, turn, text, agent, tokens, created_ms) "
         "SELECT $1, $2, $3, $4, $5, $6, $7 FROM turns t WHERE t.tenant = $1 AND t.conversation = $2 AND t.id = $3 "
         "ON CONFLICT (tenant, conversation, turn) DO UPDATE SET text = excluded.text, agent = excluded.agent, "
         "tokens = excluded.tokens, created_ms = excluded.created_ms",
         {key.tenant, conversation_id(key), storage::blob(summary.turn), summary.text, summary.agent, summary.tokens,
          created}}};
    auto const written = co_await database_.write(context, std::move(batch));
    if (!written) co_return written.error();
    co_return written->at(1).changed == 1;
}

core::Task<std::vector<ConversationInfo>> Conversations::list(core::Context const& context, std::string tenant,
                                                              std::optional<std::string> principal, ListPlace after,
                                                              std::int64_t limit) {
    Statement statement{
        kInfos + "WHERE c.tenant = $1 AND c.updated_ms <= $2 AND (c.updated_ms < $2 OR c.session > $3) ",
        {std::move(tenant), after.updated_ms, std::move(after.session), limit}};
    if (principal) {
        statement.sql += "AND c.principal = $5 ";
        statement.values.emplace_back(std::move(*principal));
    }
    statement.sql += "ORDER BY c.updated_ms DESC, c.session LIMIT $4";
    co_return co_await infos(context, std::move(statement));
}

core::Task<std::vector<ConversationInfo>> Conversations::list_by_name(core::Context const& context,
                                                                      std::optional<std::string> principal,
                                                                      ConversationKey after, std::int64_t limit) {
    Statement statement{kInfos + "WHERE c.tenant = $1 AND (c.principal > $2 OR (c.principal = $2 AND c.session > $3)) ",
                        {std::move(after.tenant), std::move(after.principal), std::move(after.session), limit}};
    if (principal) {
        statement.sql += "AND c.principal = $5 ";
        statement.values.emplace_back(std::move(*principal));
    }
    statement.sql += "ORDER BY c.principal, c.session LIMIT $4";
    co_return co_await infos(context, std::move(statement));
}

core::Task<std::vector<ConversationInfo>> Conversations::infos(core::Context const& context, Statement statement) {
    Batch batch{std::move(statement)};
    auto const rows = co_await database_.read(context, std::move(batch));
    if (!rows) co_return rows.error();
    std::vector<ConversationInfo> out;
    for (auto const& row : rows->at(0).rows) {
        out.push_back({storage::text(row[0]), storage::text(row[1]), storage::integer(row[2]), storage::integer(row[3]),
                       storage::integer(row[4])});
    }
    co_return std::move(out);
}

// The conversation's row goes first: who adds a turn takes hold of that row before, so nothing is added afterwards.
Batch Conversations::erasure(ConversationKey const& key) {
    return {{"DELETE FROM conversations WHERE tenant = $1 AND principal = $2 AND session = $3",
             {key.tenant, key.principal, key.session}},
            {"DELETE FROM turns WHERE tenant = $1 AND conversation = $2", {key.tenant, conversation_id(key)}},
            {"DELETE FROM summaries WHERE tenant = $1 AND conversation = $2", {key.tenant, conversation_id(key)}}};
}

core::Task<bool> Conversations::erase(core::Context const& context, ConversationKey key) {
    auto const written = co_await database_.write(context, erasure(key));
    if (!written) co_return written.error();
    co_return written->at(0).changed == 1;
}

core::Task<std::int64_t> Conversations::erase_all(core::Context const& context, std::string tenant,
                                                  std::string principal) {
    std::int64_t count = 0;
    for (;;) {
        Batch question{{"SELECT session FROM conversations WHERE tenant = $1 AND principal = $2 LIMIT $3",
                        {tenant, principal, kErasedAtOnce}}};
        auto const found = co_await database_.read(context, std::move(question));
        if (!found) co_return found.error();
        if (found->at(0).rows.empty()) co_return count;
        Batch batch;
        for (auto const& row : found->at(0).rows)
            std::ranges::move(erasure({tenant, principal, storage::text(row[0])}), std::back_inserter(batch));
        auto const written = co_await database_.write(context, std::move(batch));
        if (!written) co_return written.error();
        count += std::ssize(found->at(0).rows);
    }
}

core::Task<std::int64_t> Conversations::erase_expired(core::Context const& context, std::int64_t limit) {
    // Which ones are chosen first, so that both statements mean the same.
    auto const now = now_();
    Batch question{
        {"SELECT tenant, principal, session FROM conversations WHERE expires_ms <= $1 ORDER BY expires_ms "
         "LIMIT $2",
         {now, limit}}};
    auto const due = co_await database_.read(context, std::move(question));
    if (!due) co_return due.error();
    if (due->at(0).rows.empty()) co_return std::int64_t{0};
    Batch batch;
    for (auto const& row : due->at(0).rows) {
        auto all = erasure({storage::text(row[0]), storage::text(row[1]), storage::text(row[2])});
        // One that was used meanwhile has a new time, and stays.
        all[0].sql += " AND expires_ms <= $4";
        all[0].values.emplace_back(now);
        for (auto& rest : std::span(all).subspan(1)) {
            rest.values.insert(rest.values.end(), {row[1], row[2]});
            rest.sql +=
                " AND NOT EXISTS (SELECT 1 FROM conversations c WHERE c.tenant = $1 AND c.principal = $3 "
                "AND c.session = $4)";
        }
        std::ranges::move(all, std::back_inserter(batch));
    }
    auto const written = co_await database_.write(context, std::move(batch));
    if (!written) co_return written.error();
    std::int64_t count = 0;
    for (std::size_t i = 0; i < written->size(); i += written->size() / due->at(0).rows.size())
        count += written->at(i).changed;
    co_return count;
}

} // namespace parley::memory

#include "storage/postgres_connection.hpp"

#include <libpq-fe.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <utility>

#include <poll.h>

#include "core/hash.hpp"
#include "storage/schema.hpp"

namespace parley::storage {
namespace {

using core::Errc;
using core::make_error;

constexpr Oid kBytea = 17;
constexpr std::size_t kNamesMax = 128; // statements of a connection that are remembered
constexpr Oid kInt8 = 20;
constexpr Oid kInt2 = 21;
constexpr Oid kInt4 = 23;
constexpr Oid kBool = 16;
constexpr Oid kText = 25;
constexpr char const* kSchemaLock = "SELECT pg_advisory_xact_lock(5782986316843118)"; // any number that is ours

struct Clear {
    void operator()(PGresult* result) const noexcept { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, Clear>;

std::string trimmed(char const* text) {
    std::string out(text != nullptr ? text : "");
    while (!out.empty() && (out.back() == '\n' || out.back() == ' '))
        out.pop_back();
    return out;
}

core::Error unavailable(std::string reason) {
    return make_error(Errc::kStoreUnavailable, "The conversation store is not available.", {}, std::move(reason));
}

// Classes of the SQL standard and of Postgres, "Appendix A. Error Codes". XX: trouble inside the server, a failing disk
// among it.
bool is_outage(std::string_view state) {
    return state.starts_with("08") || state.starts_with("53") || state.starts_with("57") || state.starts_with("58") ||
           state.starts_with("XX") || state == "55P03" || state == "25006" || state.starts_with("28") ||
           state.starts_with("3D");
}

std::int64_t big_endian(char const* bytes, int size) {
    std::uint64_t value = size > 0 && (bytes[0] & 0x80) != 0 ? ~std::uint64_t{0} : 0;
    for (auto i = 0; i < size; ++i)
        value = (value << 8) | static_cast<unsigned char>(bytes[i]);
    return static_cast<std::int64_t>(value);
}

Value cell(PGresult const* result, int row, int column) {
    if (PQgetisnull(result, row, column)) return std::monostate{};
    auto const* const bytes = PQgetvalue(result, row, column);
    auto const size = PQgetlength(result, row, column);
    switch (PQftype(result, column)) {
        case kInt2:
        case kInt4:
        case kInt8:
        case kBool:
            return big_endian(bytes, size);
        case kBytea:
            return Blob{std::string(bytes, static_cast<std::size_t>(size))};
        default:
            return std::string(bytes, static_cast<std::size_t>(size));
    }
}

Rows rows_of(PGresult* result) {
    Rows out;
    auto const columns = PQnfields(result);
    out.rows.resize(static_cast<std::size_t>(PQntuples(result)));
    for (std::size_t row = 0; row < out.rows.size(); ++row) {
        for (auto column = 0; column < columns; ++column)
            out.rows[row].push_back(cell(result, static_cast<int>(row), column));
    }
    std::string_view const changed = PQcmdTuples(result);
    auto const selected = std::string_view(PQcmdStatus(result)).starts_with("SELECT");
    if (!selected) std::from_chars(changed.data(), changed.data() + changed.size(), out.changed);
    return out;
}

// ---- the schema; blocking, before the pipeline begins

constexpr std::chrono::seconds kLookUpTime{3};
constexpr std::chrono::minutes kChangeTime{10}; // of a large database's tables, or while another process does it

// "permission denied for schema public" alone does not say whose, and which one would do.
std::string hint(PGresult const* result) {
    auto const* const state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (state == nullptr || std::string_view(state) != "42501") return {};
    return " (the user of the connection lacks a right: it makes tables once and then writes them, so it needs CREATE "
           "and USAGE on its schema and has to own the tables)";
}

// PQexec would wait for ever on a server that has fallen silent.
core::Result<std::string> ask(PGconn* connection, std::string const& sql, std::chrono::milliseconds patience) {
    auto const until = std::chrono::steady_clock::now() + patience;
    if (PQsendQuery(connection, sql.c_str()) == 0) return unavailable(trimmed(PQerrorMessage(connection)));
    core::Result<std::string> answer = std::string();
    for (;;) {
        while (PQisBusy(connection) != 0) {
            auto const left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
            if (left.count() <= 0) return unavailable("it did not answer in time");
            pollfd socket{PQsocket(connection), POLLIN, 0};
            ::poll(&socket, 1, static_cast<int>(left.count()));
            if (PQconsumeInput(connection) == 0) return unavailable(trimmed(PQerrorMessage(connection)));
        }
        Result const result(PQgetResult(connection));
        if (!result) return answer;
        auto const status = PQresultStatus(result.get());
        if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
            answer = unavailable(trimmed(PQerrorMessage(connection)) + hint(result.get()));
        } else if (answer && PQntuples(result.get()) > 0) {
            answer = std::string(PQgetvalue(result.get(), 0, 0));
        }
    }
}

core::Result<int> schema_version(PGconn* connection) {
    auto const exists = ask(connection, "SELECT to_regclass('parley_schema') IS NOT NULL", kLookUpTime);
    if (!exists) return exists.error();
    if (*exists != "t") return 0;
    auto const version = ask(connection, "SELECT coalesce(max(version), 0) FROM parley_schema", kLookUpTime);
    if (!version) return version.error();
    return std::atoi(version->c_str());
}

core::Result<> check_version(int found) {
    if (found <= static_cast<int>(migrations().size())) return {};
    auto error = make_error(Errc::kInvalidValue, newer_schema(found));
    error.detail = error.message;
    return error;
}

core::Result<> run_steps(PGconn* connection) {
    auto const steps = migrations();
    if (auto const locked = ask(connection, kSchemaLock, kChangeTime); !locked)
        return locked.error();                     // one process at a time
    auto const found = schema_version(connection); // another one may have been quicker
    if (!found) return found.error();
    if (auto const known = check_version(*found); !known) return known.error();
    std::vector<std::string> scripts{"CREATE TABLE IF NOT EXISTS parley_schema (version BIGINT PRIMARY KEY)"};
    for (auto i = static_cast<std::size_t>(*found); i < steps.size(); ++i) {
        scripts.emplace_back(steps[i]);
        scripts.push_back("INSERT INTO parley_schema VALUES (" + std::to_string(i + 1) + ")");
    }
    for (auto const& script : scripts)
        if (auto const done = ask(connection, script, kChangeTime); !done) return done.error();
    return {};
}

core::Result<> bring_up_to_date(PGconn* connection, PostgresConnection::Schema schema) {
    auto const found = schema_version(connection);
    if (!found) return found.error();
    // Steps only add: a program that runs while a newer one comes goes on.
    if (schema == PostgresConnection::Schema::kMayBeNewer && *found > static_cast<int>(migrations().size())) return {};
    if (auto const known = check_version(*found); !known) return known.error();
    if (*found == static_cast<int>(migrations().size())) return {};
    if (auto const begun = ask(connection, "BEGIN", kChangeTime); !begun) return begun.error();
    auto done = run_steps(connection);
    auto const ended = ask(connection, done ? "COMMIT" : "ROLLBACK", kChangeTime);
    if (done && !ended) done = ended.error();
    return done;
}

} // namespace

void PostgresConnection::Finish::operator()(pg_conn* connection) const noexcept {
    PQfinish(connection);
}

namespace {

// libpq ends a password at the first @ or /, and takes the rest of it for a host or a database, which get told.
bool holds_bare_marks(std::string_view dsn) {
    if (!dsn.starts_with("postgres://") && !dsn.starts_with("postgresql://")) return false;
    dsn.remove_prefix(dsn.find("://") + 3);
    dsn = dsn.substr(0, dsn.find('?'));
    auto const at = dsn.find('@');
    if (at == std::string_view::npos) return false;
    return dsn.find('@', at + 1) != std::string_view::npos || dsn.find('/') < at;
}

} // namespace

core::Result<std::string> PostgresConnection::describe(core::Secret const& dsn) {
    if (holds_bare_marks(dsn.reveal())) {
        return make_error(
            Errc::kInvalidValue,
            "there is an @ or / in front of the host that is not escaped. In a user or password write %40 "
            "for @ and %2F for /");
    }
    char* fault = nullptr;
    auto* const parsed = PQconninfoParse(dsn.reveal().c_str(), &fault);
    if (parsed == nullptr) {
        PQfreemem(fault); // it repeats parts of the DSN, which holds a password
        return make_error(Errc::kInvalidValue,
                          "it is not a connection string: postgresql://USER:PASSWORD@HOST:PORT/DATABASE is one");
    }
    std::string user, host, port, database;
    for (auto const* one = parsed; one->keyword != nullptr; ++one) {
        std::string_view const key = one->keyword;
        auto const value = std::string(one->val != nullptr ? one->val : "");
        if (key == "user") user = value;
        if (key == "host" || (key == "hostaddr" && host.empty())) host = value;
        if (key == "port") port = value;
        if (key == "dbname") database = value;
    }
    PQconninfoFree(parsed);
    return (user.empty() ? "" : user + "@") + (host.empty() ? "localhost" : host) + (port.empty() ? "" : ":" + port) +
           "/" + database;
}

core::Result<PostgresConnection> PostgresConnection::connect(PostgresOptions const& options, Schema schema) {
    auto const seconds =
        std::to_string(std::max<std::int64_t>(2, options.connect_timeout.count() / 1000)); // 2: libpq's least
    auto const silence = std::to_string(options.statement_timeout.count());
    // Ours come first, so that the DSN's own win.
    std::array<char const*, 8> const keys{"connect_timeout",
                                          "keepalives_idle",
                                          "keepalives_interval",
                                          "tcp_user_timeout",
                                          "application_name",
                                          "client_encoding",
                                          "dbname",
                                          nullptr};
    std::array<char const*, 8> const values{
        seconds.c_str(), "5", "5", silence.c_str(), "parley", "UTF8", options.dsn.reveal().c_str(), nullptr};
    PostgresConnection made(PQconnectdbParams(keys.data(), values.data(), 1));
    auto* const raw = made.connection_.get();
    if (PQstatus(raw) != CONNECTION_OK) return unavailable(trimmed(PQerrorMessage(raw)));
    PQsetNoticeProcessor(raw, [](void*, char const*) {}, nullptr); // else to standard error
    if (auto const current = bring_up_to_date(raw, schema); !current) return current.error();
    auto const process = ask(raw, "SELECT pg_backend_pid()", kLookUpTime);
    if (!process) return process.error();
    made.keeps_names_ =
        *process == std::to_string(PQbackendPID(raw)); // else something stands between, as PgBouncer does
    if (PQsetnonblocking(raw, 1) != 0 || PQenterPipelineMode(raw) != 1)
        return unavailable(trimmed(PQerrorMessage(raw)));
    return made;
}

int PostgresConnection::descriptor() const noexcept {
    return PQsocket(connection_.get());
}

// The name under which the server keeps the statement, told now if it is new.
std::string const* PostgresConnection::prepared(Statement const& statement, std::vector<Oid> const& types) {
    auto text = statement.sql;
    for (auto const type : types)
        text += ' ' + std::to_string(type);
    auto const known = names_.find(text);
    if (known == names_.end()) {
        if (names_.size() < kNamesMax) names_.emplace(std::move(text), "");
        return nullptr; // once is not enough to be worth it
    }
    if (!known->second.empty()) return &known->second;
    auto name = "parley_" + core::sha256_hex(text).substr(0, 32);
    if (PQsendPrepare(connection_.get(), name.c_str(), statement.sql.c_str(), static_cast<int>(types.size()),
                      types.data()) != 1)
        return nullptr; // the statement will say so
    sent_.push_back(text);
    known->second = std::move(name);
    return &known->second;
}

bool PostgresConnection::send(Statement const& statement) {
    std::vector<char const*> values;
    std::vector<int> lengths;
    std::vector<int> formats;
    std::vector<Oid> types; // said, because the server cannot guess them everywhere (INSERT … SELECT $1)
    std::vector<std::string> numbers;
    numbers.reserve(statement.values.size()); // their texts must not move
    for (auto const& value : statement.values) {
        auto const* bytes = static_cast<char const*>(nullptr);
        auto size = std::size_t{0};
        auto type = Oid{0}; // NULL is of any
        if (auto const* const number = std::get_if<std::int64_t>(&value)) {
            bytes = numbers.emplace_back(std::to_string(*number)).c_str();
            type = kInt8;
        } else if (auto const* const words = std::get_if<std::string>(&value)) {
            bytes = words->c_str();
            size = words->size();
            type = kText;
        } else if (auto const* const blob = std::get_if<Blob>(&value)) {
            bytes = blob->bytes.data();
            size = blob->bytes.size();
            type = kBytea;
        }
        types.push_back(type);
        values.push_back(bytes);
        lengths.push_back(static_cast<int>(size));
        formats.push_back(std::holds_alternative<Blob>(value) ? 1 : 0);
    }
    constexpr auto kBinary = 1;
    auto const* const name = keeps_names_ ? prepared(statement, types) : nullptr;
    sent_.emplace_back();
    if (name != nullptr) {
        return PQsendQueryPrepared(connection_.get(), name->c_str(), static_cast<int>(values.size()), values.data(),
                                   lengths.data(), formats.data(), kBinary) == 1;
    }
    return PQsendQueryParams(connection_.get(), statement.sql.c_str(), static_cast<int>(values.size()), types.data(),
                             values.data(), lengths.data(), formats.data(), kBinary) == 1;
}

bool PostgresConnection::send_end() {
    return PQpipelineSync(connection_.get()) == 1;
}

PostgresConnection::Flushed PostgresConnection::flush() {
    auto const left = PQflush(connection_.get());
    return left == 0 ? Flushed::kAll : left == 1 ? Flushed::kMore : Flushed::kLost;
}

bool PostgresConnection::receive() {
    return PQconsumeInput(connection_.get()) == 1 && PQstatus(connection_.get()) == CONNECTION_OK;
}

std::optional<PostgresConnection::Answer> PostgresConnection::next() {
    // A statement's results end with a null; two in a row mean that nothing is there, and no more than that is asked
    // of a connection that has died.
    for (auto nulls = 0; nulls < 2 && PQisBusy(connection_.get()) == 0;) {
        Result const result(PQgetResult(connection_.get()));
        if (!result) {
            ++nulls;
        } else if (is_passed_over(result.get())) {
            nulls = 0;
        } else {
            auto answer = answer_of(result.get());
            if (answer.has_lost_names) keeps_names_ = false;
            return answer;
        }
    }
    return std::nullopt;
}

// What came of a preparation says nothing, unless it failed. One that was not done, because the transaction had failed
// before, has to be done again.
bool PostgresConnection::is_passed_over(pg_result const* result) {
    auto const status = PQresultStatus(result);
    if (status == PGRES_PIPELINE_SYNC || sent_.empty()) return false;
    auto const text = std::move(sent_.front());
    sent_.pop_front();
    if (text.empty() || status == PGRES_COMMAND_OK) return !text.empty();
    if (auto const known = names_.find(text); known != names_.end()) known->second.clear();
    return status == PGRES_PIPELINE_ABORTED;
}

PostgresConnection::Answer PostgresConnection::answer_of(pg_result const* result) {
    Answer answer;
    switch (PQresultStatus(result)) {
        case PGRES_PIPELINE_SYNC:
            answer.is_end = true;
            break;
        case PGRES_TUPLES_OK:
        case PGRES_COMMAND_OK:
            answer.rows = rows_of(const_cast<pg_result*>(result)); // PQcmdTuples takes no const
            break;
        case PGRES_PIPELINE_ABORTED:
            break;
        default: {
            auto const* const field = PQresultErrorField(result, PG_DIAG_SQLSTATE);
            std::string_view const state = field != nullptr ? field : "";
            auto reason = trimmed(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
            answer.is_conflict = state == "40001" || state == "40P01";
            // No such name; it is there already; what it means has changed.
            answer.has_lost_names = state == "26000" || state == "42P05" || state == "0A000";
            if (answer.is_conflict || answer.has_lost_names || is_outage(state) || state.empty()) {
                answer.fault = unavailable(std::move(reason));
            } else {
                answer.fault = make_error(Errc::kInternal, "The store refused a statement.", {},
                                          std::string(state) + " " + reason);
            }
        }
    }
    return answer;
}

std::string PostgresConnection::reason() const {
    return trimmed(PQerrorMessage(connection_.get()));
}

} // namespace parley::storage

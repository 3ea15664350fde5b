#include "storage/sqlite_connection.hpp"

#include <sqlite3.h>

#include <utility>

namespace parley::storage {
namespace {

constexpr int kBusyMs = 5'000; // another process may be writing
constexpr std::size_t kPreparedMax = 64;

bool bind(sqlite3_stmt* statement, int index, Value const& value) {
    if (auto const* const number = std::get_if<std::int64_t>(&value))
        return sqlite3_bind_int64(statement, index, *number) == SQLITE_OK;
    if (auto const* const words = std::get_if<std::string>(&value))
        return sqlite3_bind_text64(statement, index, words->data(), words->size(), SQLITE_STATIC, SQLITE_UTF8) ==
               SQLITE_OK;
    if (auto const* const blob = std::get_if<Blob>(&value))
        return sqlite3_bind_blob64(statement, index, blob->bytes.data(), blob->bytes.size(), SQLITE_STATIC) ==
               SQLITE_OK;
    return sqlite3_bind_null(statement, index) == SQLITE_OK;
}

Value column(sqlite3_stmt* statement, int index) {
    auto const size = static_cast<std::size_t>(sqlite3_column_bytes(statement, index));
    switch (sqlite3_column_type(statement, index)) {
        case SQLITE_INTEGER:
            return static_cast<std::int64_t>(sqlite3_column_int64(statement, index));
        case SQLITE_TEXT:
            return std::string(reinterpret_cast<char const*>(sqlite3_column_text(statement, index)), size);
        case SQLITE_BLOB:
            return Blob{size == 0 ? std::string()
                                  : std::string(static_cast<char const*>(sqlite3_column_blob(statement, index)), size)};
        default:
            return std::monostate{};
    }
}

} // namespace

void SqliteConnection::Close::operator()(sqlite3* database) const noexcept {
    sqlite3_close_v2(database);
}

void SqliteConnection::Finalize::operator()(sqlite3_stmt* statement) const noexcept {
    sqlite3_finalize(statement);
}

core::Result<SqliteConnection> SqliteConnection::open(std::string const& path, Mode mode) {
    sqlite3* raw = nullptr;
    auto const access = mode == Mode::kRead ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    auto const opened = sqlite3_open_v2(path.c_str(), &raw, access | SQLITE_OPEN_NOMUTEX, nullptr);
    SqliteConnection connection(raw);
    if (opened != SQLITE_OK) return connection.error();
    sqlite3_extended_result_codes(raw, 1);
    sqlite3_busy_timeout(raw, kBusyMs);
    // FULL: a commit that was acknowledged is on disk, also when the machine loses its power.
    auto const settings = mode == Mode::kRead ? std::string("PRAGMA query_only=ON;")
                                              : std::string("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;");
    auto const set = connection.execute(settings);
    if (set) return connection;
    auto fault = set.error();
    auto const code = sqlite3_errcode(raw) & 0xff;
    if (mode == Mode::kReadWrite && (code == SQLITE_NOTADB || code == SQLITE_CORRUPT))
        fault.code = core::Errc::kInvalidValue;
    return fault;
}

core::Error SqliteConnection::error() const {
    auto* const database = database_.get();
    auto const code = database != nullptr ? sqlite3_errcode(database) & 0xff : SQLITE_NOMEM; // without its extension
    auto const reason = std::string(database != nullptr ? sqlite3_errmsg(database) : "out of memory");
    if (code == SQLITE_ERROR || code == SQLITE_MISUSE || code == SQLITE_RANGE || code == SQLITE_CONSTRAINT ||
        code == SQLITE_MISMATCH || code == SQLITE_SCHEMA) {
        return core::make_error(core::Errc::kInternal, "The store refused a statement.", {}, reason);
    }
    return core::make_error(core::Errc::kStoreUnavailable, "The conversation store is not available.", {}, reason);
}

core::Result<sqlite3_stmt*> SqliteConnection::prepared(std::string const& sql) {
    auto const known = prepared_.find(sql);
    if (known != prepared_.end()) return known->second.get();
    sqlite3_stmt* raw = nullptr;
    auto const made = sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()),
                                         SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
    if (made != SQLITE_OK) return error();
    if (prepared_.size() >= kPreparedMax) prepared_.clear();
    prepared_.emplace(sql, Prepared(raw));
    return raw;
}

core::Result<Rows> SqliteConnection::run(Statement const& statement) {
    auto const made = prepared(statement.sql);
    if (!made) return made.error();
    auto* const raw = *made;
    Rows out;
    auto failed = false;
    for (std::size_t i = 0; i < statement.values.size() && !failed; ++i) {
        // $1 is the name of a parameter here, which may stand in several places
        auto const index = sqlite3_bind_parameter_index(raw, ("$" + std::to_string(i + 1)).c_str());
        failed = index == 0 || !bind(raw, index, statement.values[i]);
    }
    auto step = failed ? SQLITE_RANGE : sqlite3_step(raw);
    for (; step == SQLITE_ROW; step = sqlite3_step(raw)) {
        auto& row = out.rows.emplace_back();
        for (auto i = 0; i < sqlite3_column_count(raw); ++i)
            row.push_back(column(raw, i));
    }
    auto const done = step == SQLITE_DONE;
    auto fault = core::Error{};
    if (failed) {
        fault = core::make_error(core::Errc::kInternal, "The store refused a statement.", {}, "parameters do not fit");
    } else if (!done) {
        fault = error();
    } else if (sqlite3_stmt_readonly(raw) == 0) {
        out.changed = sqlite3_changes64(database_.get());
    }
    sqlite3_reset(raw);
    sqlite3_clear_bindings(raw);
    if (!done) return fault;
    return out;
}

bool SqliteConnection::in_transaction() const noexcept {
    return ::sqlite3_get_autocommit(database_.get()) == 0;
}

core::Result<> SqliteConnection::execute(std::string const& script) {
    if (sqlite3_exec(database_.get(), script.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) return error();
    return {};
}

} // namespace parley::storage

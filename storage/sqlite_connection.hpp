// One connection to an SQLite file. Blocking; used by one thread at a time.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "core/result.hpp"
#include "storage/database.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace parley::storage {

class SqliteConnection {
public:
    enum class Mode : std::uint8_t { kReadWrite, kRead };

    /// Errors: kStoreUnavailable with the reason; kInvalidValue for a file to write that is no database.
    static core::Result<SqliteConnection> open(std::string const& path, Mode mode);

    /// Errors: kStoreUnavailable (busy, full, unreadable), kInternal for SQL that is wrong.
    core::Result<Rows> run(Statement const& statement);

    /// A script without parameters. Errors: as run().
    core::Result<> execute(std::string const& script);

    /// False as well once a fault has rolled a transaction back.
    bool in_transaction() const noexcept;

private:
    struct Close {
        void operator()(sqlite3* database) const noexcept;
    };
    struct Finalize {
        void operator()(sqlite3_stmt* statement) const noexcept;
    };
    using Prepared = std::unique_ptr<sqlite3_stmt, Finalize>;

    explicit SqliteConnection(sqlite3* database) : database_(database) {}
    core::Result<sqlite3_stmt*> prepared(std::string const& sql);
    core::Error error() const;

    std::unique_ptr<sqlite3, Close> database_;
    std::map<std::string, Prepared, std::less<>> prepared_;
};

} // namespace parley::storage

// libpq behind plain functions: connecting and the schema, which block and belong on a pool thread, and the sending and
// reading of pipelined statements, which do not.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/result.hpp"
#include "core/secret.hpp"
#include "storage/database.hpp"
#include "storage/store.hpp"

struct pg_conn;
struct pg_result;

namespace parley::storage {

class PostgresConnection {
public:
    /// Blocks, for options.connect_timeout at most for each host. In pipeline mode and non-blocking afterwards; the
    /// schema is up to date. Errors: kStoreUnavailable, kInvalidValue for a schema that is newer than this program,
    /// unless it may be: a newer gateway has come beside one that runs. The reason is in `detail`.
    enum class Schema : std::uint8_t { kAsKnown, kMayBeNewer };
    static core::Result<PostgresConnection> connect(PostgresOptions const& options, Schema schema = Schema::kAsKnown);

    /// "user@host:port/database", without what is secret. Errors: kInvalidValue for a DSN that is none.
    static core::Result<std::string> describe(core::Secret const& dsn);

    int descriptor() const noexcept;

    /// Puts a statement, or the end of a transaction, into the pipeline. false = the connection is of no use any more.
    /// A statement that comes again is kept by the server under a name, which spares planning it, unless something
    /// stands between us and the server, which may lose names (PgBouncer before 1.21).
    bool send(Statement const& statement);
    bool send_end();

    enum class Flushed : std::uint8_t { kAll, kMore, kLost };
    Flushed flush();

    /// Takes in what has arrived. false = the connection is of no use any more.
    bool receive();

    /// What came for one statement, or the end of a transaction.
    struct Answer {
        bool is_end = false;
        std::optional<Rows> rows = {}; // empty: `fault` says why, or an earlier one of the transaction does
        std::optional<core::Error> fault = {};
        bool is_conflict = false;    // of transactions that ran side by side: worth doing again
        bool has_lost_names = false; // the server does not know a name that it was told: worth doing again without
    };
    /// nullopt = nothing more has arrived.
    std::optional<Answer> next();

    std::string reason() const;

private:
    struct Finish {
        void operator()(pg_conn* connection) const noexcept;
    };
    explicit PostgresConnection(pg_conn* connection) : connection_(connection) {}
    static Answer answer_of(pg_result const* result);
    std::string const* prepared(Statement const& statement, std::vector<unsigned> const& types);
    bool is_passed_over(pg_result const* result);

    std::unique_ptr<pg_conn, Finish> connection_;
    // Texts with their types: names of those that are prepared; empty for what was sent once, as it is.
    std::map<std::string, std::string, std::less<>> names_;
    bool keeps_names_ = false;     // the server itself is at the other end, and has lost none
    std::deque<std::string> sent_; // what each result will be of: the text that is prepared, empty for a statement
};

} // namespace parley::storage

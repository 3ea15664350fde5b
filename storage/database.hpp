// One loop's way to the store: statements in, rows out. What memory/ and policy/ see of this room.
// Lives on its loop; any number of coroutines may use it at once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/context.hpp"
#include "core/hash.hpp"
#include "core/task.hpp"

namespace parley::storage {

struct Blob {
    std::string bytes;
    bool operator==(Blob const&) const = default;
};

/// NULL, an integer, text (UTF-8, no NUL) or bytes.
using Value = std::variant<std::monostate, std::int64_t, std::string, Blob>;

/// SQL that both databases understand, with parameters $1, $2 … All values are parameters: never put one into the text.
struct Statement {
    std::string sql;
    std::vector<Value> values = {};
};

using Batch = std::vector<Statement>;

struct Rows {
    std::vector<std::vector<Value>> rows;
    std::int64_t changed = 0; // by INSERT, UPDATE, DELETE
};

// Reading a value that is of another kind, or absent, gives the empty one.
std::int64_t integer(Value const& value) noexcept;
std::string const& text(Value const& value) noexcept;
std::string const& bytes(Value const& value) noexcept;

Blob blob(core::Sha256 const& digest);
core::Sha256 digest(Value const& value) noexcept; // zeros for what has not its length

class Database {
public:
    virtual ~Database() = default;

    /// Runs the statements one after the other and returns the rows of each; statements that change nothing. Each sees
    /// what was committed when it began: what must fit together belongs into one statement.
    /// Errors: kStoreUnavailable (not reachable, busy, full: worth another attempt later), kCancelled and
    /// kDeadlineExceeded of the context, kInternal for SQL that is wrong.
    virtual core::Task<std::vector<Rows>> read(core::Context const& context, Batch batch) = 0;

    /// All or nothing, and on disk when it returns. A batch may be run twice when the connection is lost over it, so it
    /// has to be idempotent: ids from content, ON CONFLICT DO NOTHING, compare before setting.
    /// Once begun it is carried out even if the context is cancelled. Errors: as read(); after an error of the context
    /// it is not known whether it was carried out.
    virtual core::Task<std::vector<Rows>> write(core::Context const& context, Batch batch) = 0;
};

} // namespace parley::storage

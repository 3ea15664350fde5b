// The embedded store: a writer thread for all loops, and for each loop a connection that reads inline, because a read
// by key takes less than handing it to another thread would (facts: 46 us for the round trip).
#include <atomic>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "storage/schema.hpp"
#include "storage/sqlite_writer.hpp"
#include "storage/store.hpp"

namespace parley::storage {
namespace {

core::Result<int> schema_version(SqliteConnection& connection) {
    auto const rows = connection.run({"PRAGMA user_version"});
    if (!rows) return rows.error();
    return static_cast<int>(integer(rows->rows.at(0).at(0)));
}

core::Result<> migrate(SqliteConnection& connection) {
    auto const steps = migrations();
    if (auto const begun = connection.execute("BEGIN IMMEDIATE"); !begun) return begun.error(); // one process at a time
    auto const found = schema_version(connection);
    if (!found) return found.error();
    if (*found > static_cast<int>(steps.size())) {
        (void)connection.execute("ROLLBACK");
        return core::make_error(core::Errc::kInvalidValue, newer_schema(*found));
    }
    for (auto i = static_cast<std::size_t>(*found); i < steps.size(); ++i) {
        if (auto const made = connection.execute(std::string(steps[i])); !made) return made.error();
    }
    if (auto const noted = connection.execute("PRAGMA user_version=" + std::to_string(steps.size())); !noted)
        return noted.error();
    return connection.execute("COMMIT");
}

class SqliteDatabase final : public Database {
public:
    SqliteDatabase(net::Loop& loop, SqliteWriter& writer, std::string const& path)
        : loop_(loop), writer_(writer), path_(path) {
        // Now, and with a read, which opens the rest of its files: what a loop holds open does not grow later on.
        auto opened = SqliteConnection::open(path_, SqliteConnection::Mode::kRead);
        if (!opened) return; // read() tries again and says why
        reader_ = std::move(*opened);
        (void)reader_->run({"SELECT count(*) FROM sqlite_schema"});
    }

    core::Task<std::vector<Rows>> read(core::Context const& context, Batch batch) override {
        if (context.cancellation.cancelled())
            co_return core::make_error(core::Errc::kCancelled, "The client went away.");
        if (!reader_) {
            auto opened = SqliteConnection::open(path_, SqliteConnection::Mode::kRead);
            if (!opened) co_return opened.error();
            reader_ = std::move(*opened);
        }
        auto out = read_now(batch);
        co_return out;
    }

    core::Task<std::vector<Rows>> write(core::Context const& context, Batch batch) override {
        auto const waiting = std::make_shared<Waiting>(loop_);
        auto done = [waiting, guard = boost::asio::make_work_guard(loop_.context())](Outcome outcome) mutable {
            auto const executor = guard.get_executor();
            // The guard goes with it: the loop may be gone before this function is.
            auto deliver = [waiting, outcome = std::move(outcome), guard = std::move(guard)]() mutable {
                waiting->settle(std::move(outcome));
            };
            boost::asio::post(executor, std::move(deliver));
        };
        writer_.add(std::move(batch), std::move(done));
        co_return co_await Waiting::wait(waiting, loop_, context);
    }

private:
    Outcome read_now(Batch const& batch) {
        std::vector<Rows> out;
        for (auto const& statement : batch) {
            auto rows = reader_->run(statement);
            if (!rows) return rows.error();
            out.push_back(std::move(*rows));
        }
        return out;
    }

    net::Loop& loop_;
    SqliteWriter& writer_;
    std::string const& path_;
    std::optional<SqliteConnection> reader_;
};

class SqliteStore final : public Store {
public:
    SqliteStore(std::string path, SqliteConnection connection)
        : path_(std::move(path)), writer_(std::move(connection)) {}

    std::unique_ptr<Database> face(net::Loop& loop) override {
        return std::make_unique<SqliteDatabase>(loop, writer_, path_);
    }

    StoreState state() const override {
        auto const trouble = is_closed_ ? "closed" : writer_.trouble();
        return {"sqlite", path_, trouble.empty(), trouble, static_cast<int>(migrations().size())};
    }

    void close() override {
        writer_.finish();
        is_closed_ = true;
    }

private:
    std::string path_;
    SqliteWriter writer_; // its connection is closed with the store, after those of the faces
    std::atomic<bool> is_closed_ = false;
};

// What people say to their agents is not for other users of the machine: a folder and a file that we make are the
// owner's alone. SQLite gives its other files the mode of the first one. What is there already keeps its mode.
void make_private(std::string const& path) {
    std::error_code error;
    auto const folder = std::filesystem::path(path).parent_path();
    if (std::filesystem::create_directories(folder, error))
        std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
    auto const file = ::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (file >= 0) ::close(file);
}

} // namespace

core::Result<std::unique_ptr<Store>> open_sqlite(std::string path) {
    make_private(path);
    auto connection = SqliteConnection::open(path, SqliteConnection::Mode::kReadWrite);
    auto migrated = connection ? migrate(*connection) : core::Result<>(connection.error());
    if (!migrated) {
        auto fault = migrated.error();
        auto const& reason = fault.detail.empty() ? fault.message : fault.detail;
        fault.message = "The store '" + path + "' cannot be opened: " + reason;
        if (!connection && fault.code == core::Errc::kInvalidValue)
            fault.message += ". Put a backup in its place, or move it away: then an empty one is made.";
        return fault;
    }
    return std::unique_ptr<Store>(std::make_unique<SqliteStore>(std::move(path), std::move(*connection)));
}

} // namespace parley::storage

// The only writer of an SQLite file: a thread of its own that commits all that came meanwhile in one transaction, so
// that one fsync serves many (group commit). Thread-safe.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "storage/sqlite_connection.hpp"
#include "storage/waiting.hpp"

namespace parley::storage {

class SqliteWriter {
public:
    explicit SqliteWriter(SqliteConnection connection);
    ~SqliteWriter() { finish(); }
    SqliteWriter(SqliteWriter const&) = delete;
    SqliteWriter& operator=(SqliteWriter const&) = delete;

    /// `done` is called on the writer's thread, once the batch is on disk or has failed.
    void add(Batch batch, std::function<void(Outcome)> done);

    /// Commits what was given to it and ends its thread; what is added later is never done. The connection stays open,
    /// so that it can be the last one: SQLite then moves everything into the file itself, which a reader cannot.
    void finish();

    /// Why the last commit failed; empty = it did not.
    std::string trouble() const;

private:
    struct Job {
        Batch batch;
        std::function<void(Outcome)> done;
        std::optional<Outcome> outcome = {};
    };

    void work();
    void commit(std::vector<Job>& jobs);
    Outcome run(Batch const& batch);

    SqliteConnection connection_;
    mutable std::mutex mutex_; // guards all below
    std::condition_variable wake_;
    std::vector<Job> jobs_;
    std::string trouble_;
    bool closing_ = false;
    std::thread thread_;
};

} // namespace parley::storage

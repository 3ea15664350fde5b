#include "storage/sqlite_writer.hpp"

#include <utility>

namespace parley::storage {

SqliteWriter::SqliteWriter(SqliteConnection connection)
    : connection_(std::move(connection)), thread_([this] { work(); }) {}

void SqliteWriter::finish() {
    {
        std::lock_guard const lock(mutex_);
        closing_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
}

void SqliteWriter::add(Batch batch, std::function<void(Outcome)> done) {
    {
        std::lock_guard const lock(mutex_);
        if (closing_) return;
        jobs_.push_back({std::move(batch), std::move(done)});
    }
    wake_.notify_one();
}

std::string SqliteWriter::trouble() const {
    std::lock_guard const lock(mutex_);
    return trouble_;
}

void SqliteWriter::work() {
    for (;;) {
        std::vector<Job> jobs;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return closing_ || !jobs_.empty(); });
            if (jobs_.empty()) return;
            jobs = std::exchange(jobs_, {});
        }
        commit(jobs);
        for (auto& job : jobs)
            job.done(std::move(*job.outcome));
    }
}

void SqliteWriter::commit(std::vector<Job>& jobs) {
    auto fault = std::optional<core::Error>();
    if (auto const begun = connection_.execute("BEGIN IMMEDIATE"); !begun) {
        fault = begun.error();
    } else {
        for (auto& job : jobs) {
            job.outcome = run(job.batch);
            if (connection_.in_transaction()) continue;
            // A fault of the disk, say, has rolled everything back: what came next would be committed by itself.
            fault = *job.outcome ? core::make_error(core::Errc::kInternal, "SQLite") : job.outcome->error();
            break;
        }
        if (auto const committed = fault ? core::Result<>() : connection_.execute("COMMIT"); !committed)
            fault = committed.error();
    }
    if (fault) {
        if (connection_.in_transaction()) (void)connection_.execute("ROLLBACK");
        for (auto& job : jobs)
            if (!job.outcome || *job.outcome) job.outcome = Outcome(*fault);
    }
    std::lock_guard const lock(mutex_);
    trouble_ = fault ? fault->detail : std::string();
}

// One batch fails alone.
Outcome SqliteWriter::run(Batch const& batch) {
    if (auto const saved = connection_.execute("SAVEPOINT batch"); !saved) return saved.error();
    std::vector<Rows> out;
    for (auto const& statement : batch) {
        auto rows = connection_.run(statement);
        if (!rows) {
            (void)connection_.execute("ROLLBACK TO batch; RELEASE batch");
            return rows.error();
        }
        out.push_back(std::move(*rows));
    }
    if (auto const released = connection_.execute("RELEASE batch"); !released) return released.error();
    return out;
}

} // namespace parley::storage

// The store of a simulated world: the real SQL on a real SQLite in memory, behind latency and faults. One database for
// all seeds, emptied between them; each replica has a face of its own.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "storage/database.hpp"
#include "storage/sqlite_connection.hpp"
#include "tests/simulation/ledger.hpp"

namespace parley::simulation {

/// How the store treats one seed.
struct StoreWeather {
    int slow = 0;          // percent of batches that take up to a second and a half
    int refused = 0;       // percent that are refused before anything is done
    int lost = 0;          // percent of writes that are done, and whose answer is lost
    int twice = 0;         // percent of writes that are done a second time, as after a lost connection
    milliseconds until{0}; // then all is well
};

/// What each key used, read off the batches that were committed.
class UsageRules {
public:
    explicit UsageRules(Ledger& ledger) : ledger_(ledger) {}
    struct Limits {
        std::int64_t requests_per_minute = 0;
        std::int64_t budget_tokens = 0;
    };
    std::map<std::string, Limits> limits; // by key id

    void committed(storage::Batch const& batch, std::vector<storage::Rows> const& rows);
    void settling(storage::Batch const& batch); // is asked for, whatever becomes of it

    /// At the end of the world: each grant was settled; `rows` of key_usage say what the settled amounts come to.
    void check_end(storage::Rows const& usage) const;

private:
    struct Grant {
        std::string key;
        std::int64_t reserved = 0;
        std::int64_t used = 0;
        bool is_settled = false;
    };
    struct Minute {
        int asked = 0, granted = 0;
    };
    void reserved(storage::Batch const& batch, std::vector<storage::Rows> const& rows);

    Ledger& ledger_;
    std::map<std::string, Grant> grants_; // by reservation
    std::set<std::string> settling_;      // reservations
    std::set<std::string> given_back_;    // reservations, whether they were granted before or not
    std::map<std::string, bool> seen_;    // reservations that were decided: granted
    std::map<std::pair<std::string, std::int64_t>, Minute> minutes_;
};

class SimulatedStore {
public:
    SimulatedStore(Ledger& ledger, Chance& chance, StoreWeather weather, core::Executor executor);
    ~SimulatedStore();

    std::unique_ptr<storage::Database> face();

    UsageRules usage;

    /// Without latency, for those who check.
    storage::Rows look(std::string const& sql);

private:
    class Face;
    struct Job;
    std::vector<storage::Rows> run(storage::Batch const& batch, bool is_write);
    static core::Awaitable<void> carry_out(std::shared_ptr<Job> job);

    Ledger& ledger_;
    Chance& chance_;
    StoreWeather weather_;
    core::Executor executor_;
    storage::SqliteConnection& sqlite_;
};

} // namespace parley::simulation

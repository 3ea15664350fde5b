#include "tests/simulation/simulated_store.hpp"

#include <boost/asio/co_spawn.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "storage/schema.hpp"
#include "tests/simulation/wait.hpp"

namespace parley::simulation {
namespace {

using std::chrono::steady_clock;
using storage::Batch;
using storage::Rows;
using storage::SqliteConnection;

constexpr std::string_view kReserves = "UPDATE key_usage SET requests";
constexpr std::string_view kSettles = "UPDATE key_usage SET tokens";

void must(core::Result<> const& done) {
    if (done) return;
    std::fprintf(stderr, "simulated store: %s %s\n", done.error().message.c_str(), done.error().detail.c_str());
    std::abort();
}

SqliteConnection& database() {
    static SqliteConnection made = [] {
        auto opened = SqliteConnection::open(":memory:", SqliteConnection::Mode::kReadWrite);
        if (!opened) std::abort();
        for (auto const step : storage::migrations())
            must(opened->execute(std::string(step)));
        return std::move(*opened);
    }();
    return made;
}

// The first statement of a settlement, the third where a reservation is given back that may still be on its way.
std::size_t settlement_in(Batch const& batch) {
    for (std::size_t i = 0; i < std::min<std::size_t>(batch.size(), 3); ++i)
        if (batch[i].sql.starts_with(kSettles)) return i;
    return batch.size();
}

core::Error unavailable() {
    return core::make_error(core::Errc::kStoreUnavailable, "The conversation store is not available.");
}

} // namespace

// ---- what is written down of keys

void UsageRules::committed(Batch const& batch, std::vector<Rows> const& rows) {
    if (batch.size() > 2 && batch[2].sql.starts_with(kReserves)) reserved(batch, rows);
    auto const at = settlement_in(batch);
    if (at == batch.size()) return;
    if (at != 0) given_back_.insert(storage::text(batch[at].values[6]));
    if (rows[at].changed == 1) {
        auto const& values = batch[at].values;
        auto const grant = grants_.find(storage::text(values[6]));
        ledger_.expect(grant != grants_.end(), "a reservation is settled that nobody has");
        if (grant == grants_.end()) return;
        ledger_.expect(!std::exchange(grant->second.is_settled, true), "a reservation is settled twice");
        grant->second.used = grant->second.reserved + storage::integer(values[3]);
        auto const* const request = ledger_.find(storage::text(values[6]));
        auto const used = grant->second.used;
        auto const untold = request && request->is_untold && used == request->tokens + grant->second.reserved;
        if (request && request->tokens > 0)
            ledger_.expect(used == request->tokens || untold, "a key pays for other tokens than models reported",
                           request->id);
        if (request && request->tokens == 0)
            ledger_.expect(grant->second.used == 0 || grant->second.used == grant->second.reserved,
                           "a key pays for tokens that nobody reported", request->id);
        if (request && request->streams == 0)
            ledger_.expect(grant->second.used == 0, "a key pays although no model was asked", request->id);
    }
}

// Granted as long as there is room, and not once more; a batch that is done twice is one request.
void UsageRules::reserved(Batch const& batch, std::vector<Rows> const& rows) {
    auto const& values = batch[2].values;
    auto const key = storage::text(values[1]);
    auto const id = storage::text(values[2]);
    auto const granted = !rows[4].rows.empty() && storage::integer(rows[4].rows[0][0]) == 1;
    auto const& row = rows[5].rows.at(0); // minute, requests, tokens, period, spent_tokens, spent_cost
    auto const& limit = limits[key];
    ledger_.expect(limit.requests_per_minute == 0 || storage::integer(row[1]) <= limit.requests_per_minute,
                   "more requests a minute than a key may make", id);
    if (given_back_.contains(id)) return ledger_.expect(!granted, "a reservation that was given back is granted", id);
    auto const [known, is_new] = seen_.try_emplace(id, granted);
    ledger_.expect(!known->second || granted, "a reservation that was granted is refused", id);
    bool const is_granted_now = granted && (is_new || !known->second); // one that was refused may be done again, too
    // A run of several rounds may come to cost more than was set aside; after that nothing is granted any more.
    ledger_.expect(!is_granted_now || limit.budget_tokens == 0 || storage::integer(row[4]) <= limit.budget_tokens,
                   "a budget is exceeded", id);
    known->second = granted;
    if (is_granted_now) grants_.emplace(id, Grant{key, storage::integer(values[4])});
    if (!is_new) return;
    auto& minute = minutes_[{key, storage::integer(values[3])}];
    ++minute.asked;
    if (granted) ++minute.granted;
    if (limit.requests_per_minute == 0) return;
    auto const fits = std::min<std::int64_t>(minute.asked, limit.requests_per_minute);
    ledger_.expect(minute.granted == fits, "of several requests not as many pass as a key may make", id);
}

void UsageRules::settling(Batch const& batch) {
    auto const at = settlement_in(batch);
    if (at != batch.size()) settling_.insert(storage::text(batch[at].values[6]));
}

void UsageRules::check_end(Rows const& usage) const {
    std::map<std::string, std::int64_t> expected;
    for (auto const& [id, grant] : grants_) {
        ledger_.expect(settling_.contains(id), "a reservation is never given back", id);
        expected[grant.key] += grant.is_settled ? grant.used : grant.reserved;
    }
    for (auto const& row : usage.rows) {
        auto const key = storage::text(row[0]);
        ledger_.expect(storage::integer(row[1]) == expected[key], "the sum of a key is not what its requests used",
                       key);
    }
}

// ---- the store

struct SimulatedStore::Job {
    Job(SimulatedStore& whose, Batch wanted, core::Executor executor)
        : store(whose), batch(std::move(wanted)), done(executor, core::SteadyTime::max()) {}

    SimulatedStore& store;
    Batch batch;
    milliseconds before{0}, after{0};
    bool is_refused = false, is_lost = false, is_twice = false;
    std::optional<core::Result<std::vector<Rows>>> outcome;
    Timer done; // cancelled when there is an outcome
};

class SimulatedStore::Face final : public storage::Database {
public:
    explicit Face(SimulatedStore& store) : store_(store) {}

    core::Task<std::vector<Rows>> read(core::Context const& context, Batch batch) override {
        if (context.cancellation.cancelled())
            co_return core::make_error(core::Errc::kCancelled, "The client went away.");
        auto const job = begin(std::move(batch));
        auto const waited = co_await wait(context, job->before + job->after);
        if (!waited) co_return waited.error();
        if (job->is_refused) co_return unavailable();
        co_return store_.run(job->batch, false);
    }

    // Begun is begun: it goes on when the one who waits has left. One after the other, as a connection does it.
    core::Task<std::vector<Rows>> write(core::Context const& context, Batch batch) override {
        store_.usage.settling(batch);
        auto const job = begin(std::move(batch));
        auto const now = steady_clock::now();
        free_ = std::max(free_, now + job->before);
        job->before = std::chrono::ceil<milliseconds>(free_ - now);
        free_ = now + job->before + (job->is_twice ? job->after + milliseconds(1) : milliseconds(0));
        boost::asio::co_spawn(store_.executor_, carry_out(job), [](std::exception_ptr failure) {
            if (failure) std::rethrow_exception(failure);
        });
        if (!job->outcome && !context.cancellation.cancelled()) {
            auto const stop = [&job]() noexcept { job->done.cancel(); };
            core::OnCancel const on_cancel(context.cancellation, stop);
            job->done.expires_at(context.deadline);
            co_await wait_on(job->done);
        }
        if (job->outcome) co_return std::move(*job->outcome);
        auto error = stopped(context);
        co_return error ? *error : unavailable();
    }

private:
    std::shared_ptr<Job> begin(Batch batch) {
        auto& chance = store_.chance_;
        auto const& weather = store_.weather_;
        auto job = std::make_shared<Job>(store_, std::move(batch), store_.executor_);
        job->before = chance.ms(0, 3);
        job->after = chance.ms(0, 3);
        if (VirtualTime::now() >= weather.until) return job;
        if (chance.percent(weather.slow)) (chance.percent(50) ? job->before : job->after) = chance.ms(10, 1'500);
        job->is_refused = chance.percent(weather.refused);
        job->is_lost = chance.percent(weather.lost);
        job->is_twice = chance.percent(weather.twice);
        return job;
    }

    SimulatedStore& store_;
    core::SteadyTime free_ = {};
};

core::Awaitable<void> SimulatedStore::carry_out(std::shared_ptr<Job> job) {
    core::Cancellation never;
    core::Context const context{never};
    auto& store = job->store;
    (void)co_await wait(context, job->before);
    core::Result<std::vector<Rows>> outcome = unavailable();
    if (job->is_refused) {
        store.ledger_.note("store", "refuses {:.40}", job->batch[0].sql);
    } else {
        outcome = store.run(job->batch, true);
    }
    if (job->is_twice && !job->is_refused) {
        (void)co_await wait(context, job->after);
        store.ledger_.note("store", "does it again");
        outcome = store.run(job->batch, true);
    }
    (void)co_await wait(context, job->after);
    if (job->is_lost && !job->is_refused) {
        store.ledger_.note("store", "loses the answer to {:.40}", job->batch[0].sql);
        outcome = unavailable();
    }
    job->outcome = std::move(outcome);
    job->done.cancel();
}

SimulatedStore::SimulatedStore(Ledger& ledger, Chance& chance, StoreWeather weather, core::Executor executor)
    : usage(ledger), ledger_(ledger), chance_(chance), weather_(weather), executor_(executor), sqlite_(database()) {}

SimulatedStore::~SimulatedStore() {
    for (auto const* const table : {"conversations", "turns", "summaries", "key_usage", "reservations"})
        must(sqlite_.execute(std::string("DELETE FROM ") + table));
}

std::unique_ptr<storage::Database> SimulatedStore::face() {
    return std::make_unique<Face>(*this);
}

Rows SimulatedStore::look(std::string const& sql) {
    auto rows = sqlite_.run({sql});
    if (!rows) must(rows.error());
    return std::move(*rows);
}

std::vector<Rows> SimulatedStore::run(Batch const& batch, bool is_write) {
    std::vector<Rows> out;
    if (is_write) must(sqlite_.execute("BEGIN"));
    for (auto const& statement : batch) {
        auto rows = sqlite_.run(statement);
        if (!rows) must(rows.error());
        out.push_back(std::move(*rows));
    }
    if (is_write) must(sqlite_.execute("COMMIT"));
    ledger_.note("store", "{} {:.40} and {} more", is_write ? "commits" : "reads", batch[0].sql, batch.size() - 1);
    if (is_write) usage.committed(batch, out);
    return out;
}

} // namespace parley::simulation

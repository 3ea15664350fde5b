#include "storage/postgres_link.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <variant>

namespace parley::storage {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kRequestsPerTransaction = 64;
constexpr std::size_t kStatementsInFlight = 1'000; // more wait here, not in the server's memory
constexpr std::size_t kWaitingMax = 10'000;
constexpr int kTriesMax = 3;
constexpr milliseconds kRetryMin{100};
constexpr milliseconds kRetryMax{1'000}; // a database that is back is noticed within this

core::Error unavailable(std::string reason) {
    auto error = core::make_error(core::Errc::kStoreUnavailable, "The conversation store is not available.", {},
                                  std::move(reason));
    error.retry_after = milliseconds(1'000);
    return error;
}

} // namespace

void PostgresHealth::report(std::string reason) {
    std::lock_guard const lock(mutex_);
    reason_ = std::move(reason);
}

std::string PostgresHealth::reason() const {
    std::lock_guard const lock(mutex_);
    return reason_;
}

PostgresLink::PostgresLink(net::Loop& loop, boost::asio::thread_pool& pool, PostgresOptions const& options,
                           PostgresHealth& health, Use use)
    : loop_(loop),
      pool_(pool),
      options_(options),
      health_(health),
      use_(use),
      watch_(loop, Watch{this}),
      tasks_(loop) {}

void PostgresLink::add(std::shared_ptr<Waiting> waiting, Batch batch) {
    if (state_ == State::kDown || queue_.size() >= kWaitingMax) {
        waiting->settle(
            unavailable(state_ == State::kDown ? health_.reason() : "too many requests are waiting for it"));
        return;
    }
    auto const give_up = steady_clock::now() + options_.acquire_timeout;
    queue_.push_back({std::move(waiting), std::move(batch), give_up});
    if (state_ == State::kIdle) {
        state_ = State::kConnecting;
        tasks_.spawn(live());
    }
    watch();
    pump_soon();
}

// ---- the life of the connection

core::Awaitable<void> PostgresLink::live() {
    auto pause = kRetryMin;
    for (;;) {
        auto connected = co_await connect();
        if (connected) {
            pause = kRetryMin;
            health_.report({});
            connection_ = std::move(*connected);
            co_await serve();
            state_ = State::kConnecting; // those who wait may be lucky at once
            continue;
        }
        auto const& error = connected.error();
        if (state_ != State::kDown)
            loop_.log().warn("store_unavailable").add("store", "postgres").add("reason", error.detail);
        state_ = State::kDown;
        health_.report(error.detail);
        fail_queue();
        core::Cancellation never;
        core::Context const context{never};
        auto const jitter = milliseconds(static_cast<std::int64_t>(loop_.ids().number() % 100));
        auto const slept = co_await loop_.sleep(context, pause + jitter);
        (void)slept;
        pause = std::min(pause * 2, kRetryMax);
    }
}

core::Awaitable<core::Result<PostgresConnection>> PostgresLink::connect() {
    attempt_ = std::make_shared<Attempt>(loop_.executor());
    auto work = [attempt = attempt_, options = options_,
                 guard = boost::asio::make_work_guard(loop_.context())]() mutable {
        auto result = PostgresConnection::connect(options, PostgresConnection::Schema::kMayBeNewer);
        auto deliver = [attempt, result = std::move(result)]() mutable {
            attempt->result = std::move(result);
            attempt->done.set();
        };
        boost::asio::post(guard.get_executor(), std::move(deliver));
    };
    boost::asio::post(pool_, std::move(work));
    // Not owned from here: it holds what waits for it, and would never go if the loop ended before.
    auto& attempt = *attempt_;
    co_await attempt.done.wait();
    auto connected = std::move(*attempt.result);
    attempt_.reset();
    co_return connected;
}

core::Awaitable<void> PostgresLink::serve() {
    if (state_ != State::kUp) loop_.log().debug("store_connected").add("store", "postgres");
    state_ = State::kUp;
    descriptor_.emplace(loop_, connection_->descriptor());
    answer_missed_ = false;
    pump();
    for (auto good = true; good;) {
        good = co_await descriptor_->readable();
        good = good && connection_->receive();
        if (!answer_missed_) take_answers(); // also the last words of a server that closes
        if (good) pump();
    }
    // Whoever flushes looks at the descriptor too: it goes when nobody does.
    while (flushing_) {
        core::Cancellation never;
        core::Context const context{never};
        auto const slept = co_await loop_.sleep(context, milliseconds(1));
        (void)slept;
    }
    lose(connection_->reason());
}

void PostgresLink::lose(std::string const& reason) {
    descriptor_.reset();
    connection_.reset();
    loop_.log().warn("store_connection_lost").add("store", "postgres").add("reason", reason);
    auto const now = steady_clock::now();
    // What was under way is done again: batches are idempotent. In the order it came, before what was not sent.
    while (!sent_.empty()) {
        auto& requests = sent_.back().requests;
        for (auto it = requests.rbegin(); it != requests.rend(); ++it) {
            if (++it->tries >= kTriesMax) {
                it->waiting->settle(unavailable(reason));
                continue;
            }
            it->give_up = now + options_.acquire_timeout;
            queue_.push_front(std::move(*it));
        }
        sent_.pop_back();
    }
    watch();
}

void PostgresLink::fail_queue() {
    for (auto& request : std::exchange(queue_, {}))
        request.waiting->settle(unavailable(health_.reason()));
}

// Those who wait for a connection too long, and a server that does not answer.
void PostgresLink::watch() {
    auto const now = steady_clock::now();
    if (state_ != State::kUp) {
        while (!queue_.empty() && queue_.front().give_up <= now) {
            queue_.front().waiting->settle(unavailable("no connection within the time that a request waits for one"));
            queue_.pop_front();
        }
    }
    if (state_ == State::kUp && !sent_.empty() && descriptor_ &&
        now >= sent_.front().sent + options_.statement_timeout) {
        for (auto& request : sent_.front().requests)
            request.waiting->settle(unavailable("it did not answer in time"));
        sent_.pop_front();
        answer_missed_ = true;
        descriptor_->stop(); // serve() sees that and gives the connection up
    }
    auto next = core::SteadyTime::max();
    if (!queue_.empty()) next = queue_.front().give_up;
    if (!sent_.empty()) next = std::min(next, sent_.front().sent + options_.statement_timeout);
    watch_.at(next);
}

// ---- what goes through it

// Once for all that come in one turn of the loop.
void PostgresLink::pump_soon() {
    if (pumping_ || state_ != State::kUp) return;
    pumping_ = true;
    loop_.post([this] {
        pumping_ = false;
        pump();
    });
}

void PostgresLink::pump() {
    if (state_ != State::kUp || !connection_) return;
    std::size_t in_flight = 0;
    for (auto const& group : sent_)
        for (auto const& request : group.requests)
            in_flight += request.batch.size();
    auto good = true;
    while (good && !queue_.empty() && in_flight < kStatementsInFlight) {
        auto group = next_group();
        for (auto const& request : group.requests)
            in_flight += request.batch.size();
        good = send(group);
        sent_.push_back(std::move(group));
    }
    watch();
    auto const flushed = good ? connection_->flush() : PostgresConnection::Flushed::kLost;
    if (flushed == PostgresConnection::Flushed::kLost) {
        descriptor_->stop();
    } else if (flushed == PostgresConnection::Flushed::kMore && !flushing_) {
        flushing_ = true;
        tasks_.spawn(flush());
    }
}

// What a batch locks has its name at the front of the values of its first statement: tenant, key or principal, session.
std::array<std::string_view, 3> lock_name(Batch const& batch) {
    std::array<std::string_view, 3> name;
    for (std::size_t i = 0; i < name.size() && !batch.empty() && i < batch.front().values.size(); ++i) {
        auto const* const text = std::get_if<std::string>(&batch.front().values[i]);
        if (text == nullptr) break;
        name[i] = *text;
    }
    return name;
}

PostgresLink::Group PostgresLink::next_group() {
    Group group;
    group.sent = steady_clock::now();
    auto const locks = [](Request const& request) { return lock_name(request.batch); };
    while (!queue_.empty() && group.requests.size() < kRequestsPerTransaction) {
        auto const alone = queue_.front().alone || use_ == Use::kRead;
        if (alone && !group.requests.empty()) break;
        // In one order everywhere: two transactions that lock two rows the other way round would wait for each other.
        auto const place = std::ranges::upper_bound(group.requests, lock_name(queue_.front().batch), {}, locks);
        group.requests.insert(place, std::move(queue_.front()));
        queue_.pop_front();
        if (alone) break;
    }
    return group;
}

bool PostgresLink::send(Group const& group) {
    for (auto const& request : group.requests)
        for (auto const& statement : request.batch)
            if (!connection_->send(statement)) return false;
    return connection_->send_end();
}

core::Awaitable<void> PostgresLink::flush() {
    for (auto more = true; more;) {
        auto const good = co_await descriptor_->writable();
        auto const flushed = good ? connection_->flush() : PostgresConnection::Flushed::kLost;
        if (flushed == PostgresConnection::Flushed::kLost) descriptor_->stop();
        more = flushed == PostgresConnection::Flushed::kMore;
    }
    flushing_ = false;
}

void PostgresLink::take_answers() {
    while (!sent_.empty()) {
        auto answer = connection_->next();
        if (!answer) break;
        auto& group = sent_.front();
        if (answer->is_end) {
            auto done = std::move(group);
            sent_.pop_front();
            finish(std::move(done));
        } else if (answer->rows) {
            group.rows.push_back(std::move(*answer->rows));
        } else if (answer->fault && !group.fault) {
            group.fault = std::move(answer->fault);
            group.is_worth_repeating = answer->is_conflict || answer->has_lost_names;
        }
    }
    watch();
}

void PostgresLink::finish(Group group) {
    auto& requests = group.requests;
    std::size_t asked = 0;
    for (auto const& request : requests)
        asked += request.batch.size();
    // Of a connection that has just died libpq may tell the end of a transaction without all that came before it.
    if (!group.fault && group.rows.size() != asked) {
        group.fault = unavailable("a transaction ended without all of its answers");
        group.is_worth_repeating = true;
    }
    if (!group.fault) {
        auto rows = group.rows.begin();
        for (auto& request : requests) {
            auto const end = rows + static_cast<std::ptrdiff_t>(request.batch.size());
            request.waiting->settle(std::vector<Rows>(std::make_move_iterator(rows), std::make_move_iterator(end)));
            rows = end;
        }
        return;
    }
    // One of several was at fault, and all were rolled back: each again by itself. Conflicts are tried again.
    auto const together = requests.size() > 1;
    if (together || group.is_worth_repeating)
        loop_.log().debug("store_batch_repeated").add("store", "postgres").add("reason", group.fault->detail);
    for (auto it = requests.rbegin(); it != requests.rend(); ++it) {
        auto const again = together || (group.is_worth_repeating && it->tries + 1 < kTriesMax);
        if (!again) {
            it->waiting->settle(*group.fault);
            continue;
        }
        if (!together) ++it->tries;
        it->alone = true;
        it->give_up = steady_clock::now() + options_.acquire_timeout;
        queue_.push_front(std::move(*it));
    }
    pump_soon();
}

} // namespace parley::storage

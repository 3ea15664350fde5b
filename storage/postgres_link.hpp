// One connection of one loop to Postgres, kept up: batches go into its pipeline as they come, answers are handed to
// those who wait, and when it is lost it is made again. On its loop; connecting happens on a pool.
#pragma once

#include <boost/asio/thread_pool.hpp>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "net/descriptor_wait.hpp"
#include "net/task_group.hpp"
#include "storage/postgres_connection.hpp"
#include "storage/waiting.hpp"

namespace parley::storage {

/// What all links of a store share. Thread-safe.
class PostgresHealth {
public:
    void report(std::string reason);
    std::string reason() const; // empty = the last attempt to connect went well

private:
    mutable std::mutex mutex_; // guards reason_
    std::string reason_ = "not connected yet";
};

class PostgresLink {
public:
    enum class Use : std::uint8_t { kRead, kWrite };

    /// All outlive it; it goes when its loop has stopped. kWrite: batches that are there at the same moment share a
    /// transaction, and its fsync.
    PostgresLink(net::Loop& loop, boost::asio::thread_pool& pool, PostgresOptions const& options,
                 PostgresHealth& health, Use use);
    PostgresLink(PostgresLink const&) = delete;
    PostgresLink& operator=(PostgresLink const&) = delete;

    void add(std::shared_ptr<Waiting> waiting, Batch batch);

private:
    enum class State : std::uint8_t { kIdle, kConnecting, kUp, kDown };

    struct Request {
        std::shared_ptr<Waiting> waiting;
        Batch batch;
        core::SteadyTime give_up; // when there is still no connection
        int tries = 0;
        bool alone = false; // it, or one that shared its transaction, has failed: not together again
    };
    /// A transaction that is under way.
    struct Group {
        std::vector<Request> requests;
        std::vector<Rows> rows; // of all their statements
        std::optional<core::Error> fault;
        bool is_worth_repeating = false;
        core::SteadyTime sent;
    };
    /// To connect, on the pool.
    struct Attempt {
        explicit Attempt(core::Executor executor) : done(executor) {}
        net::Signal done;
        std::optional<core::Result<PostgresConnection>> result;
    };
    struct Watch {
        PostgresLink* self;
        void operator()() const noexcept { self->watch(); }
    };

    core::Awaitable<void> live();
    core::Awaitable<void> serve();
    core::Awaitable<core::Result<PostgresConnection>> connect();
    core::Awaitable<void> flush();
    void pump_soon();
    void pump();
    Group next_group();
    bool send(Group const& group);
    void take_answers();
    void finish(Group group);
    void lose(std::string const& reason);
    void fail_queue();
    void watch();

    net::Loop& loop_;
    boost::asio::thread_pool& pool_;
    PostgresOptions const& options_;
    PostgresHealth& health_;
    Use use_;
    State state_ = State::kIdle;
    std::shared_ptr<Attempt> attempt_;
    std::optional<PostgresConnection> connection_;
    std::optional<net::DescriptorWait> descriptor_;
    std::deque<Request> queue_; // not sent
    std::deque<Group> sent_;
    bool answer_missed_ =
        false; // of a group that is no longer in sent_: what comes now would be taken for the next one's
    net::OnDeadline<Watch> watch_;
    net::TaskGroup tasks_;
    bool pumping_ = false;
    bool flushing_ = false;
};

} // namespace parley::storage

// One at a time, on one loop: coroutines wait their turn in the order they came.
#pragma once

#include <boost/intrusive/list.hpp>

#include <utility>

#include "core/context.hpp"
#include "core/task.hpp"
#include "net/loop.hpp"
#include "net/signal.hpp"

namespace parley::net {

class Mutex {
public:
    /// Holding it is having the turn; its destructor passes the turn on.
    class Turn {
    public:
        explicit Turn(Mutex& mutex) : mutex_(&mutex) {}
        Turn(Turn&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
        Turn& operator=(Turn&&) = delete;
        ~Turn() {
            if (mutex_ != nullptr) mutex_->pass_on();
        }

    private:
        Mutex* mutex_;
    };

    explicit Mutex(Loop& loop) : loop_(loop) {}
    Mutex(Mutex const&) = delete;
    Mutex& operator=(Mutex const&) = delete;

    /// The mutex outlives every waiter. Errors: kCancelled, kDeadlineExceeded of the context.
    core::Task<Turn> lock(core::Context const& context);

private:
    /// Leaves the line by itself when its coroutine ends or is destroyed.
    struct Waiter : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
        explicit Waiter(core::Executor executor) : ready(executor) {}
        Signal ready;
        bool has_turn = false;
    };

    void pass_on();

    Loop& loop_;
    boost::intrusive::list<Waiter, boost::intrusive::constant_time_size<false>> waiters_;
    bool locked_ = false;
};

} // namespace parley::net

// The owner of coroutines that nobody waits for one by one: counts them, and can wait for all to be over.
#pragma once

#include <boost/asio/co_spawn.hpp>

#include <cstddef>
#include <exception>
#include <utility>

#include "net/broadcast.hpp"

namespace parley::net {

class TaskGroup {
public:
    explicit TaskGroup(Loop& loop) : loop_(loop), ended_(loop) {}
    TaskGroup(TaskGroup const&) = delete;
    TaskGroup& operator=(TaskGroup const&) = delete;

    /// Runs `task` on the loop. What it refers to must outlive it: stop it, then wait with all_ended().
    /// An exception is a bug of ours and ends the task with a log line.
    void spawn(core::Awaitable<void> task) {
        ++running_;
        auto ended = [this](std::exception_ptr failure) {
            if (failure) tell(failure);
            --running_;
            if (running_ == 0) ended_.notify_all();
        };
        boost::asio::co_spawn(loop_.context(), std::move(task), std::move(ended));
    }

    std::size_t running() const noexcept { return running_; }

    /// Waits until no task runs any more. The last task must not be the one that waits.
    core::Awaitable<void> all_ended() {
        core::Cancellation never;
        core::Context const context{never};
        while (running_ != 0)
            co_await ended_.wait(context);
    }

private:
    void tell(std::exception_ptr const& failure) {
        try {
            std::rethrow_exception(failure);
        } catch (std::exception const& error) {
            loop_.log().error("task_failed").add("reason", error.what());
        } catch (...) {
            loop_.log().error("task_failed").add("reason", "unknown");
        }
    }

    Loop& loop_;
    std::size_t running_ = 0;
    Broadcast ended_;
};

} // namespace parley::net

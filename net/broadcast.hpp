// Wakes everybody who waits for the same thing on one loop. Waiters look again at what they wait for: being woken says
// only that something may have changed.
#pragma once

#include <algorithm>
#include <vector>

#include "core/context.hpp"
#include "core/task.hpp"
#include "net/loop.hpp"
#include "net/signal.hpp"

namespace parley::net {

class Broadcast {
public:
    explicit Broadcast(Loop& loop) : loop_(loop) {}
    Broadcast(Broadcast const&) = delete;
    Broadcast& operator=(Broadcast const&) = delete;

    /// Returns after the next notify_all(), when `context` is cancelled, or at `until` (its own deadline included).
    core::Awaitable<void> wait(core::Context const& context, core::SteadyTime until = core::SteadyTime::max()) {
        Signal signal(loop_.executor());
        waiters_.push_back(&signal);
        auto const wake = [&signal]() noexcept { signal.set(); };
        {
            core::OnCancel const on_cancel(context.cancellation, wake);
            OnDeadline deadline(loop_, wake);
            deadline.at(std::min(until, context.deadline));
            co_await signal.wait();
        }
        std::erase(waiters_, &signal);
    }

    void notify_all() {
        for (auto* const waiter : waiters_)
            waiter->set();
    }

private:
    Loop& loop_;
    std::vector<Signal*> waiters_;
};

} // namespace parley::net

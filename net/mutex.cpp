#include "net/mutex.hpp"

namespace parley::net {

core::Task<Mutex::Turn> Mutex::lock(core::Context const& context) {
    if (context.cancellation.cancelled()) {
        co_return core::make_error(core::Errc::kCancelled, "The client went away.");
    }
    if (!locked_) {
        locked_ = true;
        co_return Turn(*this);
    }
    Waiter waiter(loop_.executor());
    waiters_.push_back(waiter);
    auto expired = false;
    auto stop = [&waiter]() noexcept { waiter.ready.set(); };
    auto expire = [&expired, &waiter]() noexcept {
        expired = true;
        waiter.ready.set();
    };
    {
        core::OnCancel const on_cancel(context.cancellation, stop);
        OnDeadline deadline(loop_, expire);
        deadline.at(context.deadline);
        co_await waiter.ready.wait();
    }
    if (waiter.has_turn) co_return Turn(*this); // also when it came too late: the next wait will notice
    if (expired) co_return core::make_error(core::Errc::kDeadlineExceeded, "The run took too long.");
    co_return core::make_error(core::Errc::kCancelled, "The client went away.");
}

void Mutex::pass_on() {
    if (waiters_.empty()) {
        locked_ = false;
        return;
    }
    auto& next = waiters_.front();
    waiters_.pop_front();
    next.has_turn = true;
    next.ready.set();
}

} // namespace parley::net

// A coroutine that waits for work done elsewhere: on another thread, or by another coroutine of its loop. Shared by
// both sides, because the one that waits may leave first.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/context.hpp"
#include "core/task.hpp"
#include "net/loop.hpp"
#include "net/signal.hpp"
#include "storage/database.hpp"

namespace parley::storage {

using Outcome = core::Result<std::vector<Rows>>;

class Waiting {
public:
    explicit Waiting(net::Loop& loop) : done_(loop.executor()) {}

    /// On the loop of the one that waits. Later calls change nothing.
    void settle(Outcome outcome) {
        if (outcome_) return;
        outcome_ = std::move(outcome);
        done_.set();
    }

    bool settled() const noexcept { return outcome_.has_value(); }

    /// `self` keeps this alive. Errors: those of the outcome, kCancelled and kDeadlineExceeded of the context.
    static core::Task<std::vector<Rows>> wait(std::shared_ptr<Waiting> self, net::Loop& loop,
                                              core::Context const& context) {
        auto const wake = [&self]() noexcept { self->done_.set(); };
        {
            core::OnCancel const on_cancel(context.cancellation, wake);
            net::OnDeadline deadline(loop, wake);
            deadline.at(context.deadline);
            co_await self->done_.wait();
        }
        if (self->outcome_) co_return std::move(*self->outcome_);
        if (context.cancellation.cancelled())
            co_return core::make_error(core::Errc::kCancelled, "The client went away.");
        co_return core::make_error(core::Errc::kDeadlineExceeded, "The run took longer than this agent may take.");
    }

private:
    net::Signal done_;
    std::optional<Outcome> outcome_;
};

} // namespace parley::storage

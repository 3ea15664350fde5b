// How everybody in a simulated world waits: until a moment of virtual time, or until the context says stop.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <chrono>
#include <optional>

#include "core/context.hpp"
#include "core/error.hpp"
#include "core/result.hpp"
#include "core/task.hpp"

namespace parley::simulation {

using Timer = boost::asio::basic_waitable_timer<std::chrono::steady_clock,
                                                boost::asio::wait_traits<std::chrono::steady_clock>, core::Executor>;

inline core::Awaitable<void> wait_on(Timer& timer) {
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable_t<core::Executor>()));
}

inline std::optional<core::Error> stopped(core::Context const& context) {
    if (context.cancellation.cancelled()) return core::make_error(core::Errc::kCancelled, "The client went away.");
    if (std::chrono::steady_clock::now() >= context.deadline)
        return core::make_error(core::Errc::kDeadlineExceeded, "The run took longer than this agent may take.");
    return std::nullopt;
}

/// Waits `time`. Errors: kCancelled, kDeadlineExceeded of the context, as soon as they are.
inline core::Task<> wait(core::Context const& context, std::chrono::milliseconds time) {
    auto const executor = co_await boost::asio::this_coro::executor;
    auto const until = std::chrono::steady_clock::now() + time;
    if (!context.cancellation.cancelled()) {
        Timer timer(executor, std::min(until, context.deadline));
        auto const stop = [&timer]() noexcept { timer.cancel(); };
        core::OnCancel const on_cancel(context.cancellation, stop);
        co_await wait_on(timer);
    }
    if (auto error = stopped(context); error && (until > context.deadline || context.cancellation.cancelled()))
        co_return *error;
    co_return core::Result<>();
}

} // namespace parley::simulation

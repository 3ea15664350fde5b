// The smallest thing a coroutine can wait for: somebody on the same loop calls set(). One waiter at a time.
#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <optional>
#include <utility>

#include "core/task.hpp"

namespace parley::net {

inline constexpr boost::asio::use_awaitable_t<core::Executor> use_awaitable{};

class Signal {
public:
    explicit Signal(core::Executor executor) : executor_(executor) {}
    Signal(Signal const&) = delete;
    Signal& operator=(Signal const&) = delete;

    /// Wakes the waiter, or lets the next wait() pass at once.
    void set() {
        if (auto waiter = take()) boost::asio::post(executor_, std::move(*waiter));
    }

    /// As set(), but a waiter goes on inside this call: to be the last thing that is done to what the signal belongs
    /// to, and not from within a coroutine.
    void wake() {
        if (auto waiter = take()) std::move (*waiter)();
    }

    /// Ends the waiter without waking it: its coroutine is destroyed.
    void drop_waiter() noexcept { auto const waiter = std::exchange(waiter_, std::nullopt); }

    void reset() noexcept { set_ = false; }
    bool has_waiter() const noexcept { return waiter_.has_value(); }

    /// Returns once set() was called since the last wait(); consumes it.
    core::Awaitable<void> wait() {
        if (set_) {
            set_ = false;
            co_return;
        }
        auto keep = [this](auto handler) { waiter_.emplace(std::move(handler)); };
        co_await boost::asio::async_initiate<boost::asio::use_awaitable_t<core::Executor> const, void()>(
            std::move(keep), use_awaitable);
    }

    /// Returns at the next set() or wake(), whatever was before. Not inlined: where clang 19 did that, into wait(), a
    /// release build crashed at the first wait (decisions/0016).
    [[gnu::noinline]] core::Awaitable<void> next() {
        auto keep = [this](auto handler) { waiter_.emplace(std::move(handler)); };
        return boost::asio::async_initiate<boost::asio::use_awaitable_t<core::Executor> const, void()>(std::move(keep),
                                                                                                       use_awaitable);
    }

private:
    // The concrete handler: any_completion_handler of Boost 1.81 wraps itself without end when it is assigned.
    using Handler =
        typename boost::asio::async_result<boost::asio::use_awaitable_t<core::Executor>, void()>::handler_type;

    // Without a waiter the next wait() passes.
    std::optional<Handler> take() {
        set_ = set_ || !waiter_;
        return std::exchange(waiter_, std::nullopt);
    }

    core::Executor executor_;
    std::optional<Handler> waiter_;
    bool set_ = false;
};

} // namespace parley::net

#include "agents/pause.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace parley::agents {

namespace asio = boost::asio;

core::Task<> pause(core::Context const& context, std::chrono::milliseconds time) {
    using Clock = std::chrono::steady_clock;
    using Timer = asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, core::Executor>;
    auto const executor = co_await asio::this_coro::executor;
    Timer timer(executor, time);
    core::OnCancel const stop(context.cancellation, [&timer] { timer.cancel(); });
    co_await timer.async_wait(asio::as_tuple(asio::use_awaitable_t<core::Executor>()));
    if (context.cancellation.cancelled()) co_return core::make_error(core::Errc::kCancelled, "The client went away.");
    co_return core::Result<>();
}

} // namespace parley::agents

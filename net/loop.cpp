#include "net/loop.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/redirect_error.hpp>

#include "net/signal.hpp"

namespace parley::net {

Loop::Loop(core::LogOptions log_options) : scratch_(new char[kScratchBytes]), log_(log_options) {}

Loop::~Loop() {
    poller_news_.release(); // the descriptor is the poller's
    poller_.end();
}

void Loop::run() {
    auto const work = boost::asio::make_work_guard(context_);
    sweep();
    if (!std::exchange(follows_poller_, true)) follow_poller();
    context_.run();
    log_.flush();
}

void Loop::follow_poller() {
    auto on_news = [this](boost::system::error_code error) {
        if (error) return;
        poller_.dispatch();
        follow_poller();
    };
    poller_news_.async_wait(boost::asio::posix::descriptor_base::wait_read, std::move(on_news));
}

void Loop::stop() {
    context_.stop();
}

void Loop::sweep() {
    deadlines_.sweep(std::chrono::steady_clock::now());
    log_.flush();
    sweep_timer_.expires_after(DeadlineWheel::kTick);
    sweep_timer_.async_wait([this](boost::system::error_code error) {
        if (!error) sweep();
    });
}

core::Task<> Loop::sleep(core::Context const& context, std::chrono::milliseconds delay) {
    if (context.cancellation.cancelled()) co_return core::make_error(core::Errc::kCancelled, "The client went away.");
    boost::asio::steady_timer timer(context_, delay);
    auto stop = [&timer]() noexcept { timer.cancel(); };
    core::OnCancel const on_cancel(context.cancellation, stop);
    boost::system::error_code error;
    co_await timer.async_wait(boost::asio::redirect_error(use_awaitable, error));
    if (error) co_return core::make_error(core::Errc::kCancelled, "The client went away.");
    co_return core::Result<>{};
}

} // namespace parley::net

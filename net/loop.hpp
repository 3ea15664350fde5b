// One thread, one io_context, one core. Everything a connection needs at hand lives here, so nothing is shared on the
// request path. Another thread may only post().
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <memory>
#include <span>

#include "core/context.hpp"
#include "core/ids.hpp"
#include "core/log.hpp"
#include "core/metrics.hpp"
#include "core/task.hpp"
#include "net/deadline.hpp"
#include "net/poller.hpp"

namespace parley::net {

class Loop {
public:
    static constexpr std::size_t kScratchBytes = 64 * 1024;

    explicit Loop(core::LogOptions log_options);
    ~Loop();
    Loop(Loop const&) = delete;
    Loop& operator=(Loop const&) = delete;

    /// Runs until stop(). To be called on the thread that is to be this loop's.
    void run();
    void stop(); // from any thread

    core::Executor executor() noexcept { return context_.get_executor(); }
    boost::asio::io_context& context() noexcept { return context_; }

    template <class Function>
    void post(Function function) {
        boost::asio::post(context_, std::move(function));
    }

    /// Where a read may put its bytes when they are looked at before the next co_await.
    std::span<char> scratch() noexcept { return {scratch_.get(), kScratchBytes}; }

    core::Log& log() noexcept { return log_; }
    core::MetricSet& metrics() noexcept { return metrics_; }
    core::MetricSet const& metrics() const noexcept { return metrics_; }
    core::IdGenerator& ids() noexcept { return ids_; }

    /// Where sockets are registered. It tells its news while the loop runs.
    Poller& poller() noexcept { return poller_; }

    DeadlineWheel& deadlines() noexcept { return deadlines_; }

    /// Ends after `delay`, earlier with kCancelled when the context is cancelled.
    core::Task<> sleep(core::Context const& context, std::chrono::milliseconds delay);

private:
    void sweep();
    void follow_poller();

    std::unique_ptr<char[]> scratch_;
    core::Log log_;
    core::MetricSet metrics_;
    core::IdGenerator ids_;
    Poller poller_;
    DeadlineWheel deadlines_{std::chrono::steady_clock::now()};
    // One thread runs it and uses what belongs to it, so that its sockets need no locks; post() and stop() keep theirs.
    boost::asio::io_context context_{
        BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO}; // its handlers may use all of the above when they are destroyed with it
    boost::asio::posix::basic_stream_descriptor<core::Executor> poller_news_{context_.get_executor(),
                                                                             poller_.descriptor()};
    bool follows_poller_ = false;
    boost::asio::steady_timer sweep_timer_{context_};
};

} // namespace parley::net

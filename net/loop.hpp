// One thread, one io_context, one core. Everything a connection needs at hand lives here, so nothing is shared on the
// request path. Another thread may only post().
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/intrusive/list.hpp>

#include <chrono>
#include <memory>
#include <span>
#include <utility>

#include "core/context.hpp"
#include "core/ids.hpp"
#include "core/log.hpp"
#include "core/metrics.hpp"
#include "core/task.hpp"
#include "net/poller.hpp"

namespace parley::net {

class Loop;

/// A moment at which something is to be done. Moving it is a store; the loop sweeps all of them every
/// Loop::kSweepInterval, so it fires up to that much late. Used on its loop only.
class Deadline : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
public:
    explicit Deadline(Loop& loop);
    Deadline(Deadline const&) = delete;
    Deadline& operator=(Deadline const&) = delete;

    void at(core::SteadyTime when) noexcept { when_ = when; }
    void after(std::chrono::milliseconds delay) noexcept { when_ = std::chrono::steady_clock::now() + delay; }
    void never() noexcept { when_ = core::SteadyTime::max(); }
    core::SteadyTime when() const noexcept { return when_; }

protected:
    virtual ~Deadline() = default;

private:
    friend class Loop;
    virtual void on_expiry() noexcept = 0; // runs once, then the deadline is never() again
    core::SteadyTime when_ = core::SteadyTime::max();
};

template <class Action>
class OnDeadline final : public Deadline {
public:
    OnDeadline(Loop& loop, Action action) : Deadline(loop), action_(std::move(action)) {}

private:
    void on_expiry() noexcept override { action_(); }
    Action action_;
};

class Loop {
public:
    static constexpr std::chrono::milliseconds kSweepInterval{50};
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

    /// Ends after `delay`, earlier with kCancelled when the context is cancelled.
    core::Task<> sleep(core::Context const& context, std::chrono::milliseconds delay);

private:
    friend class Deadline;
    void sweep();
    void follow_poller();

    std::unique_ptr<char[]> scratch_;
    core::Log log_;
    core::MetricSet metrics_;
    core::IdGenerator ids_;
    Poller poller_;
    // One thread runs it and uses what belongs to it, so that its sockets need no locks; post() and stop() keep theirs.
    boost::asio::io_context context_{
        BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO}; // its handlers may use all of the above when they are destroyed with it
    boost::asio::posix::basic_stream_descriptor<core::Executor> poller_news_{context_.get_executor(),
                                                                             poller_.descriptor()};
    bool follows_poller_ = false;
    boost::asio::steady_timer sweep_timer_{context_};
    boost::intrusive::list<Deadline, boost::intrusive::constant_time_size<false>> deadlines_;
};

} // namespace parley::net

// What every wait is given: who asked, until when, and how to be told to stop.
// Owned by the request's coroutine, used on its loop only.
#pragma once

#include <boost/intrusive/list.hpp>

#include <chrono>
#include <string>

namespace parley::core {

using SteadyTime = std::chrono::steady_clock::time_point;

/// A list of things to stop. Single-threaded: lives and dies on one loop.
/// cancel() runs each registered callback once; callbacks must not throw and must not suspend.
class Cancellation {
public:
    /// Registers for the time of its own life; destroying it unregisters. `on_cancel` runs inside cancel(),
    /// or at once when cancel() was called before.
    class Hook : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
    public:
        Hook(Hook const&) = delete;
        Hook& operator=(Hook const&) = delete;

    protected:
        Hook() = default;
        virtual ~Hook() = default;

    private:
        friend class Cancellation;
        virtual void on_cancel() noexcept = 0;
    };

    Cancellation() = default;
    Cancellation(Cancellation const&) = delete;
    Cancellation& operator=(Cancellation const&) = delete;

    bool cancelled() const noexcept { return cancelled_; }

    void add(Hook& hook) noexcept {
        if (cancelled_) {
            hook.on_cancel();
        } else {
            hooks_.push_back(hook);
        }
    }

    void cancel() noexcept {
        if (cancelled_) return;
        cancelled_ = true;
        while (!hooks_.empty()) {
            auto& hook = hooks_.front();
            hooks_.pop_front();
            hook.on_cancel();
        }
    }

private:
    boost::intrusive::list<Hook, boost::intrusive::constant_time_size<false>> hooks_;
    bool cancelled_ = false;
};

/// Registers `stop` with a Cancellation for the time of its own life.
template <class Stop>
class OnCancel final : public Cancellation::Hook {
public:
    OnCancel(Cancellation& cancellation, Stop stop) : stop_(std::move(stop)) { cancellation.add(*this); }

private:
    void on_cancel() noexcept override { stop_(); }
    Stop stop_;
};

struct Context {
    Cancellation& cancellation;
    SteadyTime deadline = SteadyTime::max(); // of the whole run
    std::string request_id = {};             // also the prefix of every log line
};

} // namespace parley::core

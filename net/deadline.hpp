// Moments at which something is to be done, very many of them, nearly all of which are moved on before they come.
// Used on one loop only.
#pragma once

#include <boost/intrusive/list.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <utility>

#include "core/context.hpp"

namespace parley::net {

class DeadlineWheel;
class Loop;

/// A moment at which something is to be done. Moving it on is a store; it fires with the first sweep that comes after
/// it.
class Deadline : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
public:
    explicit Deadline(DeadlineWheel& wheel) noexcept : wheel_(wheel) {}
    explicit Deadline(Loop& loop) noexcept;
    Deadline(Deadline const&) = delete;
    Deadline& operator=(Deadline const&) = delete;

    void at(core::SteadyTime when) noexcept {
        when_ = when;
        if (when < looked_at_) place();
    }
    void after(std::chrono::milliseconds delay) noexcept { at(std::chrono::steady_clock::now() + delay); }
    void never() noexcept { when_ = core::SteadyTime::max(); }
    core::SteadyTime when() const noexcept { return when_; }

protected:
    virtual ~Deadline() = default;

private:
    friend class DeadlineWheel;
    virtual void on_expiry() noexcept = 0; // runs once, then the deadline is never() again
    void place() noexcept;

    DeadlineWheel& wheel_;
    core::SteadyTime when_ = core::SteadyTime::max();
    core::SteadyTime looked_at_ = core::SteadyTime::max(); // by the wheel; max = it does not have it
};

template <class Action>
class OnDeadline final : public Deadline {
public:
    template <class Where>
    OnDeadline(Where& where, Action action) : Deadline(where), action_(std::move(action)) {}

private:
    void on_expiry() noexcept override { action_(); }
    Action action_;
};

/// A hashed timing wheel (Varghese and Lauck 1987, scheme 6), and a lazy one: a deadline that is moved on stays where
/// it is, and is put where it belongs when its place comes round. So each sweep sees only those of one place, not the
/// tens of thousands that so many streams have.
class DeadlineWheel {
public:
    static constexpr std::chrono::milliseconds kTick{50}; // from sweep to sweep

    explicit DeadlineWheel(core::SteadyTime now) noexcept : swept_(tick_of(now)) {}
    DeadlineWheel(DeadlineWheel const&) = delete;
    DeadlineWheel& operator=(DeadlineWheel const&) = delete;

    /// Lets all that have come by `now` fire. An action may destroy and move any deadline.
    void sweep(core::SteadyTime now) noexcept;

private:
    friend class Deadline;
    using List = boost::intrusive::list<Deadline, boost::intrusive::constant_time_size<false>>;
    static constexpr std::int64_t kPlaces = 256; // a turn of 13 s: an idle timer of a minute is looked at five times

    static std::int64_t tick_of(core::SteadyTime when) noexcept { return when.time_since_epoch() / kTick; }
    List& place_of(std::int64_t tick) noexcept { return places_[static_cast<std::size_t>(tick % kPlaces)]; }
    void place(Deadline& deadline) noexcept;

    std::array<List, kPlaces> places_;
    std::int64_t swept_; // the tick of the last sweep, whose place may still have some that had not come
};

} // namespace parley::net

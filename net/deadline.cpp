// The wheel of a loop's deadlines.
#include "net/deadline.hpp"

#include <algorithm>

#include "net/loop.hpp"

namespace parley::net {

Deadline::Deadline(Loop& loop) noexcept : Deadline(loop.deadlines()) {}

void Deadline::place() noexcept {
    wheel_.place(*this);
}

// One that is more than a turn away is looked at once a turn.
void DeadlineWheel::place(Deadline& deadline) noexcept {
    if (deadline.is_linked()) deadline.unlink();
    deadline.looked_at_ = core::SteadyTime::max();
    if (deadline.when_ == core::SteadyTime::max()) return;
    auto const tick = std::clamp(tick_of(deadline.when_), swept_, swept_ + kPlaces - 1);
    deadline.looked_at_ = core::SteadyTime(tick * kTick);
    place_of(tick).push_back(deadline);
}

void DeadlineWheel::sweep(core::SteadyTime now) noexcept {
    auto const tick = tick_of(now);
    List due;
    for (auto next = swept_; next <= std::min(tick, swept_ + kPlaces - 1); ++next)
        due.splice(due.end(), place_of(next));
    swept_ = std::max(swept_, tick);
    List come; // taken out before the first of them acts: that may destroy any deadline
    while (!due.empty()) {
        auto& deadline = due.front();
        if (deadline.when_ > now) {
            place(deadline);
            continue;
        }
        deadline.unlink();
        come.push_back(deadline);
    }
    while (!come.empty()) {
        auto& deadline = come.front();
        deadline.unlink();
        deadline.looked_at_ = core::SteadyTime::max();
        if (deadline.when_ > now) { // another one's action has moved it
            place(deadline);
            continue;
        }
        deadline.never();
        deadline.on_expiry();
    }
}

} // namespace parley::net

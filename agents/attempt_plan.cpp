#include "agents/attempt_plan.hpp"

#include <algorithm>

#include "providers/model_health.hpp"

namespace parley::agents {
namespace {

using core::Errc;
using std::chrono::milliseconds;

// What may be over a moment later. A timeout has cost its time already; a wrong key or address stays wrong.
bool is_transient(core::Error const& error) noexcept {
    switch (error.code) {
        case Errc::kUpstreamUnavailable:
        case Errc::kUpstreamTruncated:
        case Errc::kUpstreamOverloaded:
        case Errc::kUpstreamFailed:
        case Errc::kRateLimited:
            return true;
        default:
            return false;
    }
}

// Half to all of 100 ms, 200 ms, 400 ms ...: clients that failed together do not come back together.
milliseconds pause_before(int retry, core::SteadyTime now) noexcept {
    auto const most = std::min(AttemptPlan::kFirstPause * (1 << std::min(retry, 8)), AttemptPlan::kPauseMax);
    auto const chance = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count();
    return most - milliseconds(chance % (most.count() / 2 + 1));
}

} // namespace

bool AttemptPlan::ready(std::size_t candidate, core::SteadyTime now) const noexcept {
    auto const& one = candidates_[candidate];
    auto const* const health = one.provider->health(*one.model);
    return !health || health->ready(now);
}

void AttemptPlan::begin(core::SteadyTime now) noexcept {
    tries_ = 0;
    retries_ = 0;
    began_ = now;
    asked_.clear();
    if (ready(candidate_, now)) return;
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
        if (!ready(i, now)) continue;
        candidate_ = i;
        return;
    }
}

AttemptPlan::Step AttemptPlan::turn_to(std::size_t candidate, Kind kind, milliseconds pause) noexcept {
    candidate_ = candidate;
    tries_ = 0;
    return {kind, pause};
}

std::optional<AttemptPlan::Step> AttemptPlan::after(core::Error const& error, core::SteadyTime now,
                                                    core::SteadyTime deadline) noexcept {
    if (!core::is_retryable(error)) return std::nullopt;
    ++tries_;
    asked_.resize(candidates_.size());
    asked_[candidate_] = true;
    auto const& current = candidates_[candidate_];
    auto const* const health = current.provider->health(*current.model);
    if (health && tries_ < health->endpoints() && health->has_another(began_, now)) return Step{Kind::kEndpoint, {}};
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
        if (!asked_[i] && ready(i, now)) return turn_to(i, Kind::kFallback);
    }
    if (retries_ == 0) { // those that looked down, before anybody is told no
        for (std::size_t i = 0; i < candidates_.size(); ++i) {
            if (!asked_[i]) return turn_to(i, Kind::kFallback);
        }
    }
    return retry(error, now, deadline);
}

std::optional<AttemptPlan::Step> AttemptPlan::retry(core::Error const& error, core::SteadyTime now,
                                                    core::SteadyTime deadline) noexcept {
    if (!is_transient(error)) return std::nullopt;
    auto const pause = std::max(pause_before(retries_, now), error.retry_after.value_or(milliseconds(0)));
    if (pause > kPauseMax || now + pause >= deadline) return std::nullopt;
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
        auto const& one = candidates_[i];
        auto* const health = one.provider->health(*one.model);
        if (!health || retries_ >= one.provider->max_retries() || !health->ready(now + pause)) continue;
        if (!health->retries().take()) continue;
        ++retries_;
        began_ = now + pause;
        asked_.clear();
        return turn_to(i, Kind::kRetry, pause);
    }
    return std::nullopt;
}

} // namespace parley::agents

// Whom a model call asks next after a failure: another endpoint of the same model at once, then the next candidate at
// once, then all again after a growing pause, as long as retries are left. A circuit breaker that is open puts its
// candidate last and takes away its retries; every candidate is still asked before a client is told of a failure.
// Pure decisions of one call, on its loop; what they rest on is providers/model_health.hpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "agents/catalogue.hpp"
#include "core/context.hpp"
#include "core/error.hpp"

namespace parley::agents {

class AttemptPlan {
public:
    static constexpr std::chrono::milliseconds kFirstPause{100}; // doubles; up to half of it is cut off at random
    static constexpr std::chrono::milliseconds kPauseMax{2'000}; // a longer Retry-After is the client's to wait for

    /// `candidates` outlives the plan and is not empty.
    explicit AttemptPlan(std::vector<Candidate> const& candidates) noexcept : candidates_(candidates) {}

    std::size_t candidate() const noexcept { return candidate_; }

    /// A call begins: with the candidate of the call before, or another one if that is down.
    void begin(core::SteadyTime now) noexcept;

    enum class Kind : std::uint8_t { kEndpoint, kFallback, kRetry };
    struct Step {
        Kind kind;
        std::chrono::milliseconds pause; // before candidate() is asked
    };

    /// candidate() has failed before a client saw anything. nullopt: the error is the client's.
    std::optional<Step> after(core::Error const& error, core::SteadyTime now, core::SteadyTime deadline) noexcept;

private:
    bool ready(std::size_t candidate, core::SteadyTime now) const noexcept;
    Step turn_to(std::size_t candidate, Kind kind, std::chrono::milliseconds pause = {}) noexcept;
    std::optional<Step> retry(core::Error const& error, core::SteadyTime now, core::SteadyTime deadline) noexcept;

    std::vector<Candidate> const& candidates_;
    std::size_t candidate_ = 0;
    std::size_t tries_ = 0;   // of this candidate, in this round
    int retries_ = 0;         // of this call
    core::SteadyTime began_;  // this round
    std::vector<bool> asked_; // as candidates_, in this round; empty until something fails
};

} // namespace parley::agents

// What is known of the ways to one model: how each endpoint has been answering, how busy it is, how long it asked to
// be left alone, and how many retries are left. It orders attempts and takes away retries; it never refuses a request.
// One per provider and model, shared by all loops: nothing but atomics, written only when something changes.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/context.hpp"
#include "core/error.hpp"

namespace parley::providers {

/// Circuit breaker of one endpoint for one model (the pattern of Nygard, "Release It!"): some failures in a row open
/// it, one call at a time is the probe that may close it again.
class CircuitBreaker {
public:
    enum class State : std::uint8_t { kClosed, kOpen, kResting }; // resting: the provider said Retry-After
    enum class Pass : std::uint8_t { kFree, kProbe, kShut };

    static constexpr int kFailuresMax = 5;                        // in a row, then it opens
    static constexpr std::chrono::milliseconds kFirstProbe{250};  // after it has opened; doubles up to the next
    static constexpr std::chrono::milliseconds kProbeEvery{1000}; // also while it rests, however long it was asked to
    static constexpr std::chrono::seconds kProbeTime{10};         // a probe without a verdict no longer counts

    /// Whether a call should be made now. kProbe: the caller is the probe, and must give a verdict or give it back.
    Pass take(core::SteadyTime now) noexcept;

    /// What take() would say, taking nothing.
    Pass look(core::SteadyTime now) const noexcept;

    void succeeded() noexcept;
    void failed(core::SteadyTime now) noexcept;
    void rest(core::SteadyTime now, std::chrono::milliseconds wait) noexcept;
    void give_back(core::SteadyTime now) noexcept; // a probe that was stopped before it told anything

    State state() const noexcept;
    int failures() const noexcept { return failures_.load(std::memory_order_relaxed); } // in a row
    core::SteadyTime last_failed() const noexcept;                                      // long ago = never
    core::SteadyTime rests_until() const noexcept;

private:
    std::atomic<int> failures_{0};
    std::atomic<std::int64_t> last_failed_{0};
    std::atomic<std::int64_t> probe_at_{0};   // steady clock, nanoseconds; 0 = closed
    std::atomic<std::int64_t> rest_until_{0}; // likewise; 0 = nobody asked
};

/// Retries as a share of what succeeds, so that a provider in trouble is not buried under them (after gRPC's
/// retryThrottling, proposal A6): a success earns a tenth of a retry, at most kMax are saved up.
class RetryBudget {
public:
    static constexpr int kMax = 10;

    bool take() noexcept;
    void earn() noexcept;
    double left() const noexcept;

private:
    static constexpr int kTenths = 10;
    std::atomic<int> tenths_{kMax * kTenths};
};

class ModelHealth {
public:
    /// `weights`: of the endpoints, at least one, each above 0.
    explicit ModelHealth(std::vector<double> const& weights);
    static constexpr std::chrono::seconds kRecent{1};

    std::size_t endpoints() const noexcept { return endpoints_.size(); }

    /// True when some endpoint is closed, or due for a probe.
    bool ready(core::SteadyTime now) const noexcept;

    /// True when some endpoint is not shut and has not failed since `began`.
    bool has_another(core::SteadyTime began, core::SteadyTime now) const noexcept;

    RetryBudget& retries() noexcept { return retries_; }
    RetryBudget const& retries() const noexcept { return retries_; }

    struct EndpointView {
        CircuitBreaker::State state;
        int failures;
        int in_flight;
        std::chrono::milliseconds rests_for; // 0 = not asked to
    };
    EndpointView view(std::size_t endpoint, core::SteadyTime now) const noexcept;

    /// One call of one endpoint, for as long as it lasts. Without a verdict it counts for nothing: the client left.
    class Call {
    public:
        /// The endpoint to ask next: closed before probes before shut, those without a failure within kRecent before
        /// the one that failed longest ago, then the least loaded for its weight. `health` must not be null.
        Call(std::shared_ptr<ModelHealth> health, core::SteadyTime now);
        ~Call();
        Call(Call&& other) noexcept = default;
        Call& operator=(Call&&) = delete;
        Call(Call const&) = delete;
        Call& operator=(Call const&) = delete;

        std::size_t endpoint() const noexcept { return endpoint_; }
        void succeeded() noexcept;

        /// Sorts the error: a fault of the endpoint counts against it, one of the request is a sign of life.
        void failed(core::Error const& error, core::SteadyTime now) noexcept;

    private:
        std::shared_ptr<ModelHealth> health_; // null: moved from
        std::size_t endpoint_ = 0;
        bool is_probe_ = false;
        bool is_told_ = false; // a verdict was given
    };

private:
    struct Endpoint {
        double weight = 1;
        CircuitBreaker breaker = {};
        std::atomic<int> in_flight{0};
    };
    std::size_t best(core::SteadyTime now) const noexcept;

    std::vector<Endpoint> endpoints_;
    RetryBudget retries_;
};

} // namespace parley::providers

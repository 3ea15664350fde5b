#include "providers/model_health.hpp"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

namespace parley::providers {
namespace {

using core::Errc;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
constexpr auto kRelaxed = std::memory_order_relaxed;

std::int64_t to_ns(core::SteadyTime time) noexcept {
    return std::chrono::duration_cast<nanoseconds>(time.time_since_epoch()).count();
}

core::SteadyTime from_ns(std::int64_t ns) noexcept {
    return core::SteadyTime(std::chrono::duration_cast<core::SteadyTime::duration>(nanoseconds(ns)));
}

// Up to a fifth earlier, so that many gateways do not probe in step. The clock's low digits are random enough for that.
milliseconds spread(milliseconds wait, core::SteadyTime now) noexcept {
    return wait - milliseconds(to_ns(now) / 1000 % (wait.count() / 5 + 1));
}

enum class Verdict : std::uint8_t { kAlive, kFault, kNothing };

Verdict verdict_on(core::Error const& error) noexcept {
    if (core::is_upstream_fault(error)) return Verdict::kFault;
    switch (error.code) {
        case Errc::kCancelled:
        case Errc::kDeadlineExceeded:
        case Errc::kOverloaded:        // a limit of ours: nothing was sent
        case Errc::kInsufficientQuota: // nor here
            return Verdict::kNothing;
        default:
            return Verdict::kAlive; // it answered, and found the request wanting
    }
}

} // namespace

CircuitBreaker::Pass CircuitBreaker::look(core::SteadyTime now) const noexcept {
    auto const probe_at = probe_at_.load(kRelaxed);
    if (probe_at == 0) return Pass::kFree;
    if (failures_.load(kRelaxed) < kFailuresMax && to_ns(now) >= rest_until_.load(kRelaxed)) return Pass::kFree;
    return to_ns(now) < probe_at ? Pass::kShut : Pass::kProbe;
}

CircuitBreaker::Pass CircuitBreaker::take(core::SteadyTime now) noexcept {
    auto probe_at = probe_at_.load(kRelaxed);
    if (probe_at == 0) return Pass::kFree;
    auto const pass = look(now);
    if (pass == Pass::kFree) probe_at_.compare_exchange_strong(probe_at, 0, kRelaxed); // has rested
    if (pass != Pass::kProbe) return pass;
    auto const next = to_ns(now + kProbeTime);
    return probe_at_.compare_exchange_strong(probe_at, next, kRelaxed) ? Pass::kProbe : Pass::kShut;
}

void CircuitBreaker::succeeded() noexcept {
    if (failures_.load(kRelaxed) != 0) failures_.store(0, kRelaxed);
    if (probe_at_.load(kRelaxed) == 0) return;
    rest_until_.store(0, kRelaxed);
    probe_at_.store(0, kRelaxed);
}

void CircuitBreaker::failed(core::SteadyTime now) noexcept {
    last_failed_.store(to_ns(now), kRelaxed);
    auto const failures = failures_.fetch_add(1, kRelaxed) + 1;
    auto const is_open = failures >= kFailuresMax;
    if (!is_open && probe_at_.load(kRelaxed) == 0) return;
    auto const doublings = std::clamp(failures - kFailuresMax, 0, 4);
    auto const wait = is_open ? std::min(kFirstProbe * (1 << doublings), kProbeEvery) : kProbeEvery;
    probe_at_.store(to_ns(now + spread(wait, now)), kRelaxed);
}

void CircuitBreaker::rest(core::SteadyTime now, milliseconds wait) noexcept {
    rest_until_.store(to_ns(now + wait), kRelaxed);
    probe_at_.store(to_ns(now + std::min(wait, spread(kProbeEvery, now))), kRelaxed);
}

void CircuitBreaker::give_back(core::SteadyTime now) noexcept {
    if (probe_at_.load(kRelaxed) != 0) probe_at_.store(to_ns(now), kRelaxed);
}

CircuitBreaker::State CircuitBreaker::state() const noexcept {
    if (probe_at_.load(kRelaxed) == 0) return State::kClosed;
    return failures() >= kFailuresMax ? State::kOpen : State::kResting;
}

core::SteadyTime CircuitBreaker::last_failed() const noexcept {
    return from_ns(last_failed_.load(kRelaxed));
}

core::SteadyTime CircuitBreaker::rests_until() const noexcept {
    return from_ns(rest_until_.load(kRelaxed));
}

bool RetryBudget::take() noexcept {
    auto left = tenths_.load(kRelaxed);
    while (left >= kTenths) {
        if (tenths_.compare_exchange_weak(left, left - kTenths, kRelaxed)) return true;
    }
    return false;
}

void RetryBudget::earn() noexcept {
    auto left = tenths_.load(kRelaxed);
    while (left < kMax * kTenths) {
        if (tenths_.compare_exchange_weak(left, left + 1, kRelaxed)) return;
    }
}

double RetryBudget::left() const noexcept {
    return static_cast<double>(tenths_.load(kRelaxed)) / kTenths;
}

ModelHealth::ModelHealth(std::vector<double> const& weights) : endpoints_(weights.size()) {
    for (std::size_t i = 0; i < weights.size(); ++i)
        endpoints_[i].weight = weights[i];
}

bool ModelHealth::ready(core::SteadyTime now) const noexcept {
    return std::ranges::any_of(
        endpoints_, [now](Endpoint const& one) { return one.breaker.look(now) != CircuitBreaker::Pass::kShut; });
}

bool ModelHealth::has_another(core::SteadyTime began, core::SteadyTime now) const noexcept {
    return std::ranges::any_of(endpoints_, [=](Endpoint const& one) {
        return one.breaker.last_failed() < began && one.breaker.look(now) != CircuitBreaker::Pass::kShut;
    });
}

ModelHealth::EndpointView ModelHealth::view(std::size_t endpoint, core::SteadyTime now) const noexcept {
    auto const& one = endpoints_[endpoint];
    auto const rests = std::chrono::ceil<milliseconds>(one.breaker.rests_until() - now);
    return {one.breaker.state(), one.breaker.failures(), one.in_flight.load(kRelaxed),
            std::max(rests, milliseconds(0))};
}

std::size_t ModelHealth::best(core::SteadyTime now) const noexcept {
    if (endpoints_.size() == 1) return 0;
    auto const rank = [now](Endpoint const& one) {
        auto const failed = one.breaker.failures() == 0 ? core::SteadyTime{} : one.breaker.last_failed();
        auto const load = (one.in_flight.load(kRelaxed) + 1) / one.weight;
        return std::tuple(one.breaker.look(now), failed + kRecent > now ? failed : core::SteadyTime{}, load);
    };
    auto const found = std::ranges::min_element(endpoints_, {}, rank);
    return static_cast<std::size_t>(found - endpoints_.begin());
}

ModelHealth::Call::Call(std::shared_ptr<ModelHealth> health, core::SteadyTime now)
    : health_(std::move(health)), endpoint_(health_->best(now)) {
    auto& chosen = health_->endpoints_[endpoint_];
    chosen.in_flight.fetch_add(1, kRelaxed);
    is_probe_ = chosen.breaker.take(now) == CircuitBreaker::Pass::kProbe;
}

ModelHealth::Call::~Call() {
    if (!health_) return;
    auto& mine = health_->endpoints_[endpoint_];
    mine.in_flight.fetch_sub(1, kRelaxed);
    if (is_probe_ && !is_told_) mine.breaker.give_back(std::chrono::steady_clock::now());
}

void ModelHealth::Call::succeeded() noexcept {
    if (std::exchange(is_told_, true)) return;
    health_->endpoints_[endpoint_].breaker.succeeded();
    health_->retries_.earn();
}

void ModelHealth::Call::failed(core::Error const& error, core::SteadyTime now) noexcept {
    auto& breaker = health_->endpoints_[endpoint_].breaker;
    switch (verdict_on(error)) {
        case Verdict::kNothing:
            return;
        case Verdict::kAlive:
            is_told_ = true;
            return breaker.succeeded();
        case Verdict::kFault:
            is_told_ = true;
            breaker.failed(now);
            auto const asked = error.retry_after.value_or(milliseconds(0));
            if (asked > milliseconds(0)) breaker.rest(now, asked);
            return;
    }
}

} // namespace parley::providers

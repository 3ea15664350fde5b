// Counters that cost an addition. Each loop writes its own MetricSet and nobody else does; a scrape adds the sets up
// (server/metrics_page.cpp). Series are made once, when a loop or a configuration starts, never per request.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley::core {

using Labels = std::vector<std::pair<std::string, std::string>>;

/// One writer, any reader: no locked instruction, just an untorn load and store.
class Counter {
public:
    void add(std::int64_t n = 1) noexcept {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    std::int64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::int64_t> value_{0};
};

/// Seconds, in fixed buckets from 1 ms to 10 min.
class Histogram {
public:
    static constexpr std::array<double, 14> kBoundsSeconds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                           0.25,  0.5,    1,     2.5,  10,    60,   600};

    void observe_seconds(double seconds) noexcept {
        std::size_t bucket = 0;
        while (bucket < kBoundsSeconds.size() && seconds > kBoundsSeconds[bucket])
            ++bucket;
        buckets_[bucket].add();
        sum_microseconds_.add(static_cast<std::int64_t>(seconds * 1e6));
    }

    std::int64_t bucket(std::size_t i) const noexcept { return buckets_[i].value(); } // not cumulative; last = +Inf
    double sum_seconds() const noexcept { return static_cast<double>(sum_microseconds_.value()) / 1e6; }

private:
    std::array<Counter, kBoundsSeconds.size() + 1> buckets_{};
    Counter sum_microseconds_;
};

enum class MetricKind : std::uint8_t { kCounter, kGauge, kHistogram };

struct MetricName {
    std::string_view name; // Prometheus conventions, prefix parley_
    std::string_view help;
    MetricKind kind;
};

class MetricSet {
public:
    struct Series {
        MetricName name;
        Labels labels;
        Counter counter;     // kCounter, kGauge
        Histogram histogram; // kHistogram
    };

    /// Finds or makes the series. The reference lives as long as the set.
    Counter& counter(MetricName const& name, Labels labels = {}) { return series(name, std::move(labels)).counter; }
    Histogram& histogram(MetricName const& name, Labels labels = {}) {
        return series(name, std::move(labels)).histogram;
    }

    /// Calls `visit` for every series; safe from any thread.
    template <class Visit>
    void for_each(Visit visit) const {
        std::lock_guard const lock(mutex_);
        for (auto const& one : series_)
            visit(one);
    }

private:
    Series& series(MetricName const& name, Labels labels) {
        std::lock_guard const lock(mutex_);
        for (auto& one : series_) {
            if (one.name.name == name.name && one.labels == labels) return one;
        }
        auto& made = series_.emplace_back();
        made.name = name;
        made.labels = std::move(labels);
        return made;
    }

    mutable std::mutex mutex_; // guards the list, not the numbers
    std::deque<Series> series_;
};

} // namespace parley::core

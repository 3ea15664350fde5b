// Counts durations in buckets of at most 0.8 % width, so that quantiles of millions of samples need a fixed 60 KB.
// Owned by the load generator, one per measured quantity.
// Runs on its single thread.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace parley::bench {

class Histogram {
public:
    Histogram() : counts_((64 - kSubBits) << kSubBits) {}

    // A clock read on either side of a message can order the two the wrong way round by some ns: counted as zero.
    void add(std::int64_t duration_ns) {
        auto const value = static_cast<std::uint64_t>(std::max<std::int64_t>(duration_ns, 0));
        ++counts_[bucket(value)];
        ++count_;
        max_ns_ = std::max(max_ns_, value);
    }

    [[nodiscard]] std::uint64_t count() const { return count_; }
    [[nodiscard]] double max_us() const { return static_cast<double>(max_ns_) / 1000.0; }

    // Microseconds below which the share `q` (0..1) of the samples lies; 0 without samples.
    [[nodiscard]] double quantile_us(double q) const {
        if (count_ == 0) return 0;
        auto const rank = static_cast<std::uint64_t>(q * static_cast<double>(count_ - 1)) + 1;
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            seen += counts_[i];
            if (seen >= rank) return middle_ns(i) / 1000.0;
        }
        return max_us();
    }

private:
    static constexpr unsigned kSubBits = 7;

    // Exact below 128 ns; above, the exponent and the seven bits after the leading one.
    [[nodiscard]] static std::size_t bucket(std::uint64_t value) {
        if (value < (1U << kSubBits)) return value;
        unsigned const shift = static_cast<unsigned>(std::bit_width(value)) - kSubBits - 1;
        return (static_cast<std::size_t>(shift + 1) << kSubBits) + ((value >> shift) & ((1U << kSubBits) - 1));
    }

    [[nodiscard]] static double middle_ns(std::size_t index) {
        std::size_t const group = index >> kSubBits;
        std::uint64_t const sub = index & ((1U << kSubBits) - 1);
        if (group == 0) return static_cast<double>(sub);
        std::uint64_t const low = ((std::uint64_t{1} << kSubBits) + sub) << (group - 1);
        return static_cast<double>(low) + static_cast<double>(std::uint64_t{1} << (group - 1)) / 2.0;
    }

    std::vector<std::uint64_t> counts_;
    std::uint64_t count_ = 0;
    std::uint64_t max_ns_ = 0;
};

} // namespace parley::bench

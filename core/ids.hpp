// Ids that are unlikely to meet again: 128 random bits behind a prefix. Not secrets.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>

namespace parley::core {

/// One per loop; not thread-safe. Seeded from the system unless a seed is given (tests, simulation).
class IdGenerator {
public:
    IdGenerator();
    explicit IdGenerator(std::uint64_t seed) : random_(seed) {}

    /// `prefix` followed by 32 hex digits, e.g. "chatcmpl-0f3a…".
    std::string make(std::string_view prefix);

    std::uint64_t number() { return random_(); }

private:
    std::mt19937_64 random_;
};

} // namespace parley::core

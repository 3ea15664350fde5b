// Many worlds, one for each seed. A failing one is printed with the command that plays it again and tells all of it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "tests/simulation/talkers.hpp"

namespace parley::simulation {
namespace {

std::uint64_t number_of(char const* variable, std::uint64_t otherwise) {
    auto const* const value = std::getenv(variable);
    return value ? std::strtoull(value, nullptr, 10) : otherwise;
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr std::uint64_t kSeeds = 500;
#else
constexpr std::uint64_t kSeeds = 10'000;
#endif
#else
constexpr std::uint64_t kSeeds = 10'000;
#endif

TEST(Simulation, HoldsForEverySeed) {
    bool const is_one = std::getenv("PARLEY_SEED") != nullptr;
    auto const first = number_of("PARLEY_SEED", 0);
    auto const last = is_one ? first : number_of("PARLEY_SEEDS", kSeeds) - 1;
    std::uint64_t steps = 0;
    std::uint64_t requests = 0;
    int failed = 0;
    for (auto seed = first; seed <= last && failed < 3; ++seed) {
        World world(seed, is_one);
        populate(world);
        auto const holds = world.run();
        steps += world.steps();
        requests += world.ledger().requests().size();
        if (holds) continue;
        ++failed;
        ADD_FAILURE() << world.ledger().broken().front() << " (" << world.ledger().broken().size()
                      << " in all). Again, with all that happens:\nPARLEY_SEED=" << seed
                      << " build/release/bin/simulation --gtest_filter=Simulation.HoldsForEverySeed";
    }
    std::printf("%llu seeds, %llu requests, %llu steps\n", static_cast<unsigned long long>(last - first + 1),
                static_cast<unsigned long long>(requests), static_cast<unsigned long long>(steps));
}

TEST(Simulation, SameSeedIsTheSameWorld) {
    auto const trace = [](std::uint64_t seed) {
        World world(seed, false);
        populate(world);
        world.run();
        return world.ledger().hash();
    };
    for (std::uint64_t seed = 0; seed < 50; ++seed)
        EXPECT_EQ(trace(seed), trace(seed)) << "seed " << seed;
    EXPECT_NE(trace(1), trace(2));
}

} // namespace
} // namespace parley::simulation

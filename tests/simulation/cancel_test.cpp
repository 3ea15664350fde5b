// Cancel at every await: a scenario runs once to count the handlers that its loop runs, then once more for each of
// them, stopped just before it. A handler is what resumes a coroutine, so no await is left out.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/talkers.hpp"

namespace parley::simulation {
namespace {

struct Scenario {
    std::string name;
    Weather weather = {};
    Talker talker = {};
};

Scenario scenario(std::string name, std::string agent = "kept") {
    Scenario made{std::move(name)};
    made.weather.models.tools = 0;
    made.weather.models_count = 1;
    made.talker.session = 1;
    made.talker.agent = std::move(agent);
    made.talker.questions = 2; // the second one comes when the first has been stopped
    return made;
}

std::vector<Scenario> scenarios() {
    std::vector<Scenario> all;
    all.push_back(scenario("plain"));

    all.push_back(scenario("tools side by side"));
    all.back().weather.models.tools = 70;
    all.back().weather.tools = {20, 0, 60, 0, kTrouble};

    all.push_back(scenario("kept by the store"));
    all.back().talker.session_name = "chat";
    all.push_back(scenario("told by the client", "told"));
    all.back().talker.session_name = "chat";
    all.back().talker.tells = true;

    all.push_back(scenario("a limit"));
    all.back().talker.key = 1;
    all.push_back(scenario("a budget"));
    all.back().talker.key = 2;

    all.push_back(scenario("a pause before a retry"));
    all.back().weather.models.refuses = 100;
    all.back().weather.models.until = milliseconds(200);
    all.push_back(scenario("a fallback, and half an answer"));
    all.back().weather.models_count = 2;
    all.back().weather.models.refuses = 50;
    all.back().weather.models.breaks_off = 50;
    all.back().weather.models.until = milliseconds(300);

    all.push_back(scenario("everything, on a slow store"));
    all.back().weather.models.tools = 70;
    all.back().weather.store = {30, 0, 0, 20, kTrouble};
    all.back().talker.session_name = "chat";
    all.back().talker.key = 2;
    return all;
}

// How many handlers there were while the first request was under way.
std::uint64_t play(Scenario const& scenario, std::uint64_t seed, std::uint64_t stop_at, bool is_cut) {
    World world(seed, scenario.weather, false);
    std::uint64_t under_way = 0;
    world.on_step = [&](std::uint64_t) {
        if (!world.first_is_under_way()) return;
        if (under_way++ == stop_at) world.stop_first(is_cut);
    };
    world.spawn(talk(world, scenario.talker));
    if (!world.run())
        ADD_FAILURE() << scenario.name << ", seed " << seed << ", " << (is_cut ? "cut" : "left") << " before handler "
                      << stop_at << ": " << world.ledger().broken().front();
    return under_way;
}

TEST(Simulation, HoldsWhereverItIsCancelled) {
    constexpr std::uint64_t kNever = ~std::uint64_t{0};
    std::uint64_t places = 0;
    for (auto const& one : scenarios()) {
        for (std::uint64_t seed = 0; seed < 3; ++seed) {
            auto const handlers = play(one, seed, kNever, false);
            EXPECT_GT(handlers, 3U) << one.name;
            for (std::uint64_t at = 0; at < handlers && !HasFailure(); ++at) {
                play(one, seed, at, false);
                play(one, seed, at, true);
                places += 2;
            }
        }
    }
    std::printf("%llu cancellations\n", static_cast<unsigned long long>(places));
}

} // namespace
} // namespace parley::simulation

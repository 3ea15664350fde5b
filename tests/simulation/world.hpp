// A whole gateway without sockets, threads and real time: two replicas of server/ over one store, with the real run
// loop, conversations, limits and breakers, between clients, models and tools that the seed writes.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agents/catalogue.hpp"
#include "core/task.hpp"
#include "tests/simulation/client.hpp"
#include "tests/simulation/ledger.hpp"
#include "tests/simulation/scripted_model.hpp"
#include "tests/simulation/scripted_tools.hpp"
#include "tests/simulation/simulated_store.hpp"

namespace parley::simulation {

struct Weather {
    StoreWeather store;
    ModelWeather models;
    ToolWeather tools;
    int models_count = 2;
    int retries = 2;
    int timeout_s = 5; // of a run
    std::int64_t requests_per_minute = 4;
    std::int64_t budget_tokens = 400;
};

/// What a seed makes of it.
Weather draw_weather(Chance& chance);

inline constexpr milliseconds kTrouble{6'000}; // faults come within this time

// Agents of the world. `both` decides by itself whose history counts.
inline constexpr std::array<std::string_view, 3> kAgents{"kept", "told", "both"};

// Keys of the world: without limits, with a rate, with a budget.
inline constexpr std::array<std::string_view, 3> kKeys{"free", "rate", "budget"};

class World {
public:
    World(std::uint64_t seed, Weather weather, bool is_verbose);
    World(std::uint64_t seed, bool is_verbose); // the seed's own weather
    ~World();
    World(World const&) = delete;
    World& operator=(World const&) = delete;

    /// Runs on the world's loop; the world ends when all of them have.
    void spawn(core::Awaitable<void> actor);

    /// Sends a request to a replica and waits for its end. `question`: token of the last message.
    core::Awaitable<Answered> ask(std::size_t replica, Sending sending, Request about);

    /// Until all actors have ended; then looks at what is left. False = a rule was broken.
    bool run();

    /// Before each handler that the loop runs, with its number from 0.
    std::function<void(std::uint64_t)> on_step;

    /// The first request is stopped now, if it is under way: its client leaves, or the server cuts it.
    void stop_first(bool is_cut);
    bool first_is_under_way() const noexcept { return first_ != nullptr; }

    Ledger& ledger() noexcept;
    Chance& chance() noexcept;
    std::uint64_t steps() const noexcept { return steps_; }

private:
    struct Replica;
    struct Parts;

    core::Awaitable<void> stop_later(std::shared_ptr<ClientExchange> exchange, Request& request, milliseconds after,
                                     bool is_cut);
    void stop(std::shared_ptr<ClientExchange> const& exchange, Request& request, bool is_cut);
    core::Awaitable<void> check_stopped(std::shared_ptr<ClientExchange> exchange, Request& request);
    core::Awaitable<void> check_trees();
    void check_end();
    void steps_until(std::function<bool()> const& is_over);

    std::unique_ptr<Parts> parts_;
    std::shared_ptr<ClientExchange> first_; // while it is under way
    std::uint64_t steps_ = 0;
    int actors_ = 0;
};

} // namespace parley::simulation

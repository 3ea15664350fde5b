// The clients of a world: people who ask, wait, ask again, change their minds and leave.
#pragma once

#include "tests/simulation/world.hpp"

namespace parley::simulation {

struct Talker {
    int session = 0;
    std::string session_name; // empty = it is not remembered
    int key = 0;
    std::string agent;
    bool tells = false; // it sends the whole history each time
    int questions = 1;
    milliseconds begins{0};
    int leaves = 0; // percent of requests
    int cut = 0;
    int slow = 0;
    bool must_succeed = false;
};

core::Awaitable<void> talk(World& world, Talker talker);

/// Everybody whom a seed sends, and at the end, when all is well, one request to each agent at each replica.
void populate(World& world);

} // namespace parley::simulation

// How the models of a configuration have been answering, for pages: a snapshot as plain data.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "agents/catalogue.hpp"
#include "core/context.hpp"

namespace parley::agents {

struct EndpointHealth {
    std::string state; // closed, open, resting: of its circuit breaker
    int failures = 0;  // in a row
    int in_flight = 0;
    std::chrono::milliseconds rests_for{0}; // what is left of a Retry-After
};

struct UpstreamHealth {
    std::string provider;
    std::string model;
    std::vector<EndpointHealth> endpoints; // as in the configuration
    double retries_left = 0;
};

/// Of each model that some agent may be answered by, in the order of the file. Providers that are never away are left
/// out.
std::vector<UpstreamHealth> upstream_health(Catalogue const& catalogue, core::SteadyTime now);

} // namespace parley::agents

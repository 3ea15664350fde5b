#include "agents/upstream_health.hpp"

#include <algorithm>

#include "providers/model_health.hpp"

namespace parley::agents {
namespace {

std::string_view state_name(providers::CircuitBreaker::State state) noexcept {
    switch (state) {
        case providers::CircuitBreaker::State::kClosed:
            return "closed";
        case providers::CircuitBreaker::State::kOpen:
            return "open";
        case providers::CircuitBreaker::State::kResting:
            return "resting";
    }
    return "closed";
}

} // namespace

std::vector<UpstreamHealth> upstream_health(Catalogue const& catalogue, core::SteadyTime now) {
    std::vector<UpstreamHealth> found;
    std::vector<providers::ModelHealth const*> seen;
    for (auto const& agent : catalogue.agents()) {
        for (auto const& candidate : agent.candidates) {
            auto const* const health = candidate.provider->health(*candidate.model);
            if (!health || std::ranges::find(seen, health) != seen.end()) continue;
            seen.push_back(health);
            auto& one = found.emplace_back();
            one.provider = candidate.provider->name();
            one.model = candidate.model_name;
            one.retries_left = health->retries().left();
            for (std::size_t i = 0; i < health->endpoints(); ++i) {
                auto const view = health->view(i, now);
                one.endpoints.push_back(
                    {std::string(state_name(view.state)), view.failures, view.in_flight, view.rests_for});
            }
        }
    }
    return found;
}

} // namespace parley::agents

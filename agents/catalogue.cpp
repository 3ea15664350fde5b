#include "agents/catalogue.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "providers/registry.hpp"

namespace parley::agents {
namespace {

providers::ProviderOptions options_of(ProviderConfig const& config) {
    providers::ProviderOptions options;
    options.name = config.name;
    options.type = config.type;
    for (auto const& endpoint : config.endpoints)
        options.endpoints.push_back({endpoint.base_url, endpoint.api_key, endpoint.weight});
    if (options.endpoints.empty()) options.endpoints.push_back({config.base_url, config.api_key});
    if (config.entra) options.entra = {config.entra->client_id, config.entra->client_secret, config.entra->token_url};
    options.headers = config.headers;
    options.timeouts = {config.timeouts.connect, config.timeouts.first_byte, config.timeouts.idle,
                        config.timeouts.total};
    options.max_connections = config.max_connections;
    options.api_version = config.api_version;
    options.ca_file = config.ca_file;
    options.max_retries = config.max_retries;
    return options;
}

// nullopt = nobody has said; the demo costs nothing.
std::optional<ModelPrice> price_of(ProviderConfig const& config, std::string_view model) {
    auto const found = config.prices.find(model);
    if (found != config.prices.end()) return found->second;
    return config.type == "demo" ? std::optional(ModelPrice{}) : std::nullopt;
}

ProviderState make_state(ProviderConfig config, Catalogue const* previous) {
    ProviderState state;
    state.unavailable = config.unavailable;
    if (previous && state.unavailable.empty()) {
        auto const& old = previous->providers();
        auto const same =
            std::find_if(old.begin(), old.end(), [&](ProviderState const& one) { return one.config == config; });
        if (same != old.end()) state.provider = same->provider;
    }
    if (!state.provider && state.unavailable.empty()) {
        auto made = providers::make_provider(options_of(config));
        if (made) {
            state.provider = std::move(*made);
        } else {
            state.unavailable = "provider '" + config.name + "': " + made.error().message;
        }
    }
    state.config = std::move(config);
    return state;
}

ServerState make_state(McpServerConfig config, Catalogue const* previous) {
    ServerState state;
    if (config.disabled) {
        state.unavailable = "it is disabled in the configuration";
    } else if (!config.unavailable.empty()) {
        state.unavailable = config.unavailable;
    } else if (config.require_approval == Approval::kAlways) {
        state.unavailable = "require_approval is \"always\", and nobody is there to ask";
    }
    mcp::ServerSpec const& spec = config;
    if (previous) {
        auto const& old = previous->mcp_servers();
        auto const same =
            std::find_if(old.begin(), old.end(), [&](ServerState const& one) { return *one.spec == spec; });
        if (same != old.end()) state.spec = same->spec;
    }
    if (!state.spec) state.spec = std::make_shared<mcp::ServerSpec const>(spec);
    state.config = std::move(config);
    return state;
}

} // namespace

std::shared_ptr<Catalogue const> Catalogue::build(GatewayConfig config, Catalogue const* previous, std::time_t now) {
    auto const made = std::shared_ptr<Catalogue>(new Catalogue);
    made->loaded_at_ = now;
    made->manifests_ = std::move(config.manifests);
    for (auto& server : config.mcp_servers)
        made->mcp_servers_.push_back(make_state(std::move(server), previous));
    for (auto& provider : config.providers)
        made->providers_.push_back(make_state(std::move(provider), previous));

    for (auto const& one : config.agents) {
        Agent agent;
        agent.config = one;
        agent.tools = std::make_shared<AgentTools const>(tools_of(one, made->mcp_servers_));
        agent.unavailable = one.unavailable;
        if (agent.unavailable.empty()) made->add_candidates(agent, config.agents);
        made->agents_.push_back(std::move(agent));
    }
    for (std::size_t i = 0; i < made->agents_.size(); ++i)
        made->index_.emplace(made->agents_[i].config.agent_id, i);
    return made;
}

// Its own model and those that stand in for it; or why there is none.
void Catalogue::add_candidates(Agent& agent, std::vector<AgentConfig> const& all) const {
    auto const& own = agent.config;
    add_candidate(agent, own);
    for (auto const& id : own.fallbacks) {
        auto const fallback =
            std::find_if(all.begin(), all.end(), [&](AgentConfig const& other) { return other.agent_id == id; });
        if (fallback != all.end()) add_candidate(agent, *fallback);
    }
    if (!agent.candidates.empty()) return;
    auto const* const state = provider(own.provider);
    agent.unavailable = own.own_unavailable.empty() && state ? state->unavailable : own.own_unavailable;
    if (agent.unavailable.empty()) agent.unavailable = "no model can answer for it";
}

// The model of `whose`, under the prompt of `agent`. Left out while it cannot be used.
void Catalogue::add_candidate(Agent& agent, AgentConfig const& whose) const {
    auto const* const state = provider(whose.provider);
    if (!whose.own_unavailable.empty() || !state || !state->provider || whose.model.empty()) return;
    providers::ModelSpec spec;
    spec.model = whose.model;
    spec.system_prompt = agent.config.system_prompt;
    spec.settings = whose.model_settings;
    agent.candidates.push_back({whose.agent_id, whose.model, state->provider, state->provider->prepare(spec),
                                price_of(state->config, whose.model)});
}

Agent const* Catalogue::find(std::string_view agent_id) const noexcept {
    auto const found = index_.find(agent_id);
    return found == index_.end() ? nullptr : &agents_[found->second];
}

ProviderState const* Catalogue::provider(std::string_view name) const noexcept {
    for (auto const& state : providers_) {
        if (state.config.name == name) return &state;
    }
    return nullptr;
}

core::Result<Catalogue::EmbeddingTarget> Catalogue::embedding_target(std::string_view model) const {
    if (auto const* const agent = find(model)) {
        if (agent->candidates.empty())
            return core::make_error(core::Errc::kAgentUnavailable, agent->unavailable, "model");
        auto const& own = agent->candidates.front();
        return EmbeddingTarget{own.provider, own.model_name, own.price};
    }
    for (auto const& state : providers_) {
        auto const& models = state.config.models;
        if (std::find(models.begin(), models.end(), model) == models.end()) continue;
        if (!state.provider) return core::make_error(core::Errc::kAgentUnavailable, state.unavailable, "model");
        return EmbeddingTarget{state.provider, std::string(model), price_of(state.config, model)};
    }
    return model_not_found(model);
}

// Dollars a million tokens are millionths of a dollar a token.
std::int64_t cost_of(ModelPrice const& price, chat::Usage const& usage) noexcept {
    if (usage.cost_usd) return static_cast<std::int64_t>(std::ceil(*usage.cost_usd * 1'000'000)); // it knows best
    auto const fresh = static_cast<double>(usage.prompt_tokens - usage.cached_tokens);
    auto const cost = fresh * price.input + static_cast<double>(usage.cached_tokens) * price.cached_input +
                      static_cast<double>(usage.completion_tokens) * price.output;
    return static_cast<std::int64_t>(std::ceil(cost));
}

core::Error model_not_found(std::string_view model) {
    constexpr std::size_t kShownBytesMax = 100;
    auto shown = std::string(model.substr(0, kShownBytesMax));
    if (model.size() > kShownBytesMax) shown += "…";
    return core::make_error(core::Errc::kModelNotFound,
                            "The model `" + shown + "` does not exist or you do not have access to it.", "model");
}

} // namespace parley::agents

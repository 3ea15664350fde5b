// All agents of one configuration, ready to run: an immutable snapshot that every loop holds and a reload replaces.
#pragma once

#include <cstdint>
#include <ctime>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agents/config.hpp"
#include "agents/tool_policy.hpp"
#include "core/result.hpp"
#include "providers/provider.hpp"

namespace parley::agents {

/// A model that may answer for an agent: its own first, then its fallbacks'.
struct Candidate {
    std::string agent_id; // whose model this is
    std::string model_name;
    std::shared_ptr<providers::Provider const> provider;
    std::unique_ptr<providers::PreparedModel const> model; // with the prompt of the agent that asks
    std::optional<ModelPrice> price = {};                  // as the provider's entry says
};

struct Agent {
    AgentConfig config;
    std::vector<Candidate> candidates; // empty exactly when unavailable says why
    std::string unavailable;
    std::shared_ptr<AgentTools const> tools = std::make_shared<AgentTools const>(); // never null
};

struct ProviderState {
    ProviderConfig config;
    std::shared_ptr<providers::Provider const> provider; // null when unavailable says why
    std::string unavailable;
};

class Catalogue {
public:
    /// Builds the snapshot. Providers and MCP servers whose settings did not change are taken over from `previous` (may
    /// be null), and with them their warm connections and sessions.
    static std::shared_ptr<Catalogue const> build(GatewayConfig config, Catalogue const* previous, std::time_t now);

    /// nullptr when there is no such agent.
    Agent const* find(std::string_view agent_id) const noexcept;

    std::vector<Agent> const& agents() const noexcept { return agents_; } // in the order of the file
    std::vector<ProviderState> const& providers() const noexcept { return providers_; }
    std::vector<Manifest> const& manifests() const noexcept { return manifests_; }
    std::vector<ServerState> const& mcp_servers() const noexcept { return mcp_servers_; } // in the order of the file
    std::time_t loaded_at() const noexcept { return loaded_at_; }                         // `created` of /v1/models

    struct EmbeddingTarget {
        std::shared_ptr<providers::Provider const> provider;
        std::string model;
        std::optional<ModelPrice> price;
    };
    /// The provider for an embeddings request: an agent's own, or the one that lists the model.
    /// Errors: kModelNotFound, kAgentUnavailable.
    core::Result<EmbeddingTarget> embedding_target(std::string_view model) const;

private:
    Catalogue() = default;
    ProviderState const* provider(std::string_view name) const noexcept;
    void add_candidates(Agent& agent, std::vector<AgentConfig> const& all) const;
    void add_candidate(Agent& agent, AgentConfig const& whose) const;

    std::vector<ProviderState> providers_;
    std::vector<Agent> agents_;
    std::map<std::string_view, std::size_t> index_; // views into agents_
    std::vector<Manifest> manifests_;
    std::vector<ServerState> mcp_servers_;
    std::time_t loaded_at_ = 0;
};

core::Error model_not_found(std::string_view model);

/// Millionths of a US dollar, rounded up.
std::int64_t cost_of(ModelPrice const& price, chat::Usage const& usage) noexcept;

} // namespace parley::agents

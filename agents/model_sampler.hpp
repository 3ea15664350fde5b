// Answers what tool servers ask of a model with the model and prompt of an agent, without its tools.
// Lives on the servers' loop, as the session does that it is given.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include "agents/catalogue.hpp"
#include "chat/usage.hpp"
#include "mcp/sampler.hpp"

namespace parley::agents {

/// One answer, for the log. Views are valid during the callback.
struct SamplingRecord {
    std::string_view server; // its label
    std::string_view agent_id;
    chat::Usage usage;
};

class ModelSampler final : public mcp::Sampler {
public:
    /// `session` outlives it. `on_sampled` may be empty.
    ModelSampler(providers::Session& session, std::shared_ptr<Catalogue const> catalogue,
                 std::function<void(SamplingRecord const&)> on_sampled)
        : session_(session), catalogue_(std::move(catalogue)), on_sampled_(std::move(on_sampled)) {}

    /// For requests from now on.
    void use(std::shared_ptr<Catalogue const> catalogue) { catalogue_ = std::move(catalogue); }

    core::Task<boost::json::object> create_message(core::Context const& context, mcp::ServerSpec const& spec,
                                                   boost::json::object params) override;

private:
    providers::Session& session_;
    std::shared_ptr<Catalogue const> catalogue_;
    std::function<void(SamplingRecord const&)> on_sampled_;
};

} // namespace parley::agents

// A provider whose models answer, ask for tools, fail and hang as the seed says. It keeps their health as the HTTP
// provider does: a verdict for each call, none for one whose client has left.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "providers/model_health.hpp"
#include "providers/provider.hpp"
#include "tests/simulation/ledger.hpp"

namespace parley::simulation {

/// A time in which an endpoint fails, always in the same way.
struct Outage {
    milliseconds begin{0}, end{0};
    core::Errc code = core::Errc::kUpstreamUnavailable;
    milliseconds takes{0};       // until the failure shows
    milliseconds retry_after{0}; // 0 = it does not say
};

/// How models treat one seed, in percent of calls.
struct ModelWeather {
    int refuses = 0;                          // an error before the first token
    int breaks_off = 0;                       // an error behind some pieces, or behind none
    int hangs = 0;                            // says nothing more
    int tools = 50;                           // asks for tools where it may
    milliseconds until{0};                    // then all is well
    std::vector<std::vector<Outage>> outages; // by endpoint
};

class ScriptedModel final : public providers::Provider {
public:
    /// All outlive it. `tools`: names on the wire of those that it may ask for.
    ScriptedModel(std::string name, Ledger& ledger, Chance& chance, ModelWeather weather, int max_retries,
                  std::vector<std::string> tools);

    std::string_view name() const noexcept override { return name_; }
    std::string_view type() const noexcept override { return "scripted"; }
    std::unique_ptr<providers::PreparedModel const> prepare(providers::ModelSpec const&) const override {
        return std::make_unique<providers::PreparedModel const>();
    }
    providers::ModelHealth* health(providers::PreparedModel const&) const noexcept override { return health_.get(); }
    int max_retries() const noexcept override { return max_retries_; }
    core::Task<std::unique_ptr<providers::ModelStream>> start(providers::Session&, core::Context const& context,
                                                              providers::PreparedModel const&,
                                                              chat::Turn const& turn) const override;
    core::Task<std::string> embed(providers::Session&, core::Context const&, std::string_view,
                                  std::string_view) const override {
        co_return std::string("{}");
    }

    providers::ModelHealth const& kept_health() const noexcept { return *health_; }

private:
    struct Script;
    class Stream;
    Script draw(chat::Turn const& turn, std::size_t endpoint) const;

    std::string name_;
    Ledger& ledger_;
    Chance& chance_;
    ModelWeather weather_;
    int max_retries_;
    std::vector<std::string> tools_;
    std::shared_ptr<providers::ModelHealth> health_;
};

} // namespace parley::simulation

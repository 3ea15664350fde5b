// Tool servers that answer, fail, are slow and hang as the seed says. One for a replica.
#pragma once

#include <array>
#include <memory>
#include <string_view>

#include "mcp/tool_host.hpp"
#include "tests/simulation/ledger.hpp"

namespace parley::simulation {

/// How tools treat one seed, in percent of calls.
struct ToolWeather {
    int fails = 0;
    int hangs = 0; // until it is told to stop, or the time is over
    int slow = 0;  // up to two seconds, telling its progress
    int away = 0;  // percent of lists without one of the servers
    milliseconds until{0};
};

/// Both servers have both tools; `order` is the one that must not happen twice.
inline constexpr std::array<std::string_view, 2> kServers{"east", "west"};
inline constexpr std::array<std::string_view, 2> kTools{"look", "order"};

class ScriptedTools final : public mcp::ToolHost {
public:
    ScriptedTools(Ledger& ledger, Chance& chance, ToolWeather weather);

    core::Task<std::vector<mcp::ServerTools>> tools(
        core::Context const& context, mcp::Caller const&,
        std::span<std::shared_ptr<mcp::ServerSpec const> const> servers) override;
    core::Task<mcp::CallResult> call(core::Context const& context, mcp::Caller const& caller,
                                     mcp::ToolCall call) override;

private:
    core::Task<mcp::CallResult> run(core::Context const& context, Request& request, mcp::ToolCall const& call);

    Ledger& ledger_;
    Chance& chance_;
    ToolWeather weather_;
    std::shared_ptr<mcp::ToolList const> list_;
};

} // namespace parley::simulation

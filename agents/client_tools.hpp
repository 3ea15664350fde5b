// The tools that a client sent along, beside the agent's own: which of them are offered, and what its tool_choice
// means. Pure; once per request of an agent with tools.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agents/config.hpp"
#include "agents/round_record.hpp"
#include "agents/tool_set.hpp"
#include "chat/turn.hpp"
#include "core/result.hpp"

namespace parley::agents {

/// What the agent makes of the tools that the client sent along (AgentConfig::client_tools).
/// Errors: kUnsupportedValue where the agent refuses them.
core::Result<> apply_client_tools(AgentConfig const& agent, chat::Turn& turn);

/// The names in a JSON array of tools; none for what is not one.
std::vector<std::string> client_tool_names(std::string_view tools_json);

struct OfferedClientTools {
    ClientToolNames names;
    std::string elements;    // of the JSON array, without brackets
    std::string tool_choice; // JSON for the first round, empty = none
    bool forced = false;     // that choice makes the model call something, so it must not hold for ever
};

/// tool_choice is about the client's tools: "none" leaves those out, a list of allowed ones the others, while the
/// agent's own stay; "required" and a named tool hold for all, in the first round. Errors: kToolNameConflict when a
/// name is one of the agent's, kInvalidValue for what is no array of tools.
core::Result<OfferedClientTools> read_client_tools(chat::Turn const& turn, ToolSet const& own);

} // namespace parley::agents

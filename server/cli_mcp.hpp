// `parley mcp …` and `parley mcp-conformance`: the tool servers without a gateway around them. Return exit codes.
#pragma once

#include <string>

#include "server/settings.hpp"

namespace parley::server {

struct McpOptions {
    std::string server = {}; // a label; empty = all
    std::string tool = {};
    std::string arguments = {}; // JSON object
    bool as_json = false;
};

int mcp_list(Flags const& flags, McpOptions const& options);
int mcp_call(Flags const& flags, McpOptions const& options);
int mcp_doctor(Flags const& flags, McpOptions const& options);
int mcp_approve(Flags const& flags, McpOptions const& options);

/// For the conformance suite: reads the scenario from the environment and plays it against `url`.
int mcp_conformance(std::string const& url);

} // namespace parley::server

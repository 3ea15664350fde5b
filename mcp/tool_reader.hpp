// What a server says about its tools, and what a tool answered, brought into our words. Pure functions.
#pragma once

#include <boost/json/object.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "mcp/request_headers.hpp"
#include "mcp/tool_host.hpp"

namespace parley::mcp {

struct ListedTool {
    Tool tool;
    std::vector<ParamHeader> param_headers = {};
};

/// Reads one element of tools/list. Errors: kUpstreamInvalid with the reason why this tool cannot be offered.
/// `modern`: annotations for headers are heeded.
core::Result<ListedTool> read_tool(boost::json::object const& definition, bool modern);

/// JSON with sorted keys and no spaces, so that equal definitions have equal hashes.
std::string canonical_json(boost::json::value const& value);

/// Reads the result of tools/call. `text_bytes_max`: what the model is shown of it, beginning and end.
CallResult read_call_result(boost::json::object const& result, std::size_t text_bytes_max);

/// The start of the character (UTF-8) that `at` is in: where a text may be cut.
std::size_t character_start(std::string_view text, std::size_t at);

/// Keeps 70 % from the beginning and 30 % from the end, and says what was left out. Cuts between characters.
std::string capped(std::string text, std::size_t bytes_max);

} // namespace parley::mcp

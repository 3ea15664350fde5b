// The HTTP headers of one message: what the configuration and the caller say, and in the modern era what the message
// itself says (Mcp-Method, Mcp-Name, Mcp-Param-*). Pure functions.
#pragma once

#include <boost/json/object.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.hpp"
#include "mcp/server_spec.hpp"
#include "mcp/tool_host.hpp"

namespace parley::mcp {

/// Configured and forwarded headers as lines that each end in CRLF. A value that cannot be a header is left out.
std::string caller_headers(ServerSpec const& spec, Caller const& caller);

/// An argument that goes into a header as well: `x-mcp-header` of a tool's input schema.
struct ParamHeader {
    std::vector<std::string> path; // through `properties`
    std::string name;              // behind Mcp-Param-
};

/// Errors: kUpstreamInvalid with the reason for which the tool must not be used (specification 2026-07-28,
/// "Transports").
core::Result<std::vector<ParamHeader>> param_headers(boost::json::object const& input_schema);

/// mcp-protocol-version, mcp-method, mcp-name and mcp-param-* of a modern request.
std::string modern_headers(std::string_view version, std::string_view method, boost::json::object const& params,
                           std::vector<ParamHeader> const& param_headers);

/// A value as it may stand in a header: as it is, or as =?base64?…?= where it could be taken for something else.
std::string header_value(std::string_view text);

} // namespace parley::mcp

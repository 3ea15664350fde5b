// An approver for tests and conformance runs: plays the browser of a person who says yes at once. It asks for the
// authorization page and takes the redirect that it answers with, without following it.
#pragma once

#include <memory>
#include <string_view>

#include "mcp/auth.hpp"
#include "net/http_client.hpp"
#include "net/loop.hpp"

namespace parley::mcp {

/// Where it expects to be sent: nobody listens there.
inline constexpr std::string_view kHeadlessRedirectUri = "http://localhost:3000/callback";

/// `http` outlives it. Never for real users: it approves whatever the page asks.
Approver make_headless_approver(net::HttpClient& http);

} // namespace parley::mcp

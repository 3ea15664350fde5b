// The answers that need no model: models, agents, health, docs. Each is a pure function of a snapshot.
#pragma once

#include <string_view>

#include "agents/catalogue.hpp"
#include "core/result.hpp"
#include "net/http_server.hpp"
#include "server/gateway.hpp"

namespace parley::server {

// `key`: a stored key's record, for which agents outside its scope do not exist; null = all exist.

/// nullptr when there is no such agent.
agents::Agent const* visible_agent(agents::Catalogue const& catalogue, std::string_view id,
                                   policy::KeyRecord const* key) noexcept;

net::Response models_page(agents::Catalogue const& catalogue, policy::KeyRecord const* key);
net::Response agents_page(agents::Catalogue const& catalogue, policy::KeyRecord const* key);

// Errors: kModelNotFound.
core::Result<net::Response> model_page(agents::Catalogue const& catalogue, std::string_view id,
                                       policy::KeyRecord const* key);
core::Result<net::Response> agent_page(agents::Catalogue const& catalogue, std::string_view id,
                                       policy::KeyRecord const* key);
core::Result<net::Response> agent_health_page(agents::Catalogue const& catalogue, std::string_view id,
                                              policy::KeyRecord const* key);

net::Response health_page(agents::Catalogue const& catalogue, GatewayShared const& shared, bool detailed);
net::Response ready_page(agents::Catalogue const& catalogue, GatewayShared const& shared);

net::Response root_page(GatewayShared const& shared);
net::Response openapi_page();
net::Response docs_page();

} // namespace parley::server

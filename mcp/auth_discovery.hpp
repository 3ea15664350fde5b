// From a challenge to the endpoints: protected resource metadata (RFC 9728), then the metadata of the authorization
// server that it names (RFC 8414, OpenID Connect Discovery), or what the 2025-03-26 specification did instead.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/context.hpp"
#include "core/task.hpp"
#include "mcp/auth_metadata.hpp"
#include "mcp/origins.hpp"
#include "mcp/server_spec.hpp"

namespace parley::mcp {

struct Discovered {
    ResourceMetadata resource;
    ServerMetadata server;
};

class Discovery {
public:
    Discovery(std::shared_ptr<ServerSpec const> spec, Origins& origins) : spec_(std::move(spec)), origins_(origins) {}

    /// `current_issuer`: kept while the server still names it; empty = none yet.
    /// Errors: kUpstreamAuth and kUpstreamInvalid in plain words, faults of the way there.
    core::Task<Discovered> run(core::Context const& context, Challenge const& challenge, std::string current_issuer);

    /// The metadata of one issuer. Errors: as run().
    core::Task<ServerMetadata> server(core::Context const& context, std::string issuer, NamedBy named_by);

private:
    struct Found {
        bool found = false;
        std::string body;
    };
    core::Task<Found> get(core::Context const& context, std::string url, NamedBy named_by);
    core::Task<std::optional<ResourceMetadata>> resource(core::Context const& context, Challenge const& challenge);
    core::Task<Discovered> without_resource_metadata(core::Context const& context);
    core::Result<std::string> choose_issuer(ResourceMetadata const& resource, std::string const& current_issuer) const;

    std::shared_ptr<ServerSpec const> spec_;
    Origins& origins_;
};

} // namespace parley::mcp

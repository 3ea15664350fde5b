// Which client we are at an authorization server: configured, a client metadata document, or registered on the spot
// (RFC 7591), in this order. What one server issued is never shown to another. Owned by one authorizer.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "core/context.hpp"
#include "core/task.hpp"
#include "mcp/auth_metadata.hpp"
#include "mcp/auth_token.hpp"
#include "mcp/origins.hpp"
#include "mcp/server_spec.hpp"

namespace parley::mcp {

class Registration {
public:
    static constexpr std::size_t kIssuersMax = 8;

    Registration(std::shared_ptr<ServerSpec const> spec, Origins& origins, SteadyNow now)
        : spec_(std::move(spec)), origins_(origins), now_(std::move(now)) {}

    /// `grant` is what the client is for, never kAuto. Errors: kUpstreamAuth in plain words, faults of the way there.
    core::Task<Client> client(core::Context const& context, ServerMetadata const& server, OAuthOptions::Grant grant,
                              bool dpop);

    /// The server does not know the client any more: the next client() registers anew.
    void forget(std::string const& issuer) { registered_.erase(issuer); }

private:
    struct Registered {
        Client client;
        core::SteadyTime expires = core::SteadyTime::max();
    };

    core::Result<Client> configured(ServerMetadata const& server);
    core::Result<> add_key(Client& client) const;
    core::Task<Client> register_at(core::Context const& context, ServerMetadata const& server,
                                   OAuthOptions::Grant grant, bool dpop);
    std::string registration_body(OAuthOptions::Grant grant, std::string_view method, bool dpop) const;
    core::Result<Registered> read_registration(OAuthAnswer const& answer, std::string method) const;
    core::Error missing(std::string_view why) const;

    std::shared_ptr<ServerSpec const> spec_;
    Origins& origins_;
    SteadyNow now_;
    std::string configured_for_; // the issuer that the configured credentials were first used at
    std::map<std::string, Registered> registered_;
};

} // namespace parley::mcp

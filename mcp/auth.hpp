// How one HTTP server and one principal are authorised: OAuth 2.1 as the specification's "Authorization" asks of
// clients, and DPoP (RFC 9449). Tokens are kept per issuer and given to nobody but the server they were issued for.
// Lives with its transport on the servers' loop.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/context.hpp"
#include "core/task.hpp"
#include "mcp/server_spec.hpp"
#include "net/http_client.hpp"

namespace parley::mcp {

/// Takes a person (or a test) through the authorisation page: gets the complete authorisation URL, returns the complete
/// redirect URL that the person's browser was sent to. Errors: kUpstreamAuth when nobody is there to approve.
using Approver = std::function<core::Task<std::string>(core::Context const& context, std::string authorize_url)>;

/// Time that passes; tests bring their own.
using SteadyNow = std::function<core::SteadyTime()>;

class Authorizer {
public:
    virtual ~Authorizer() = default;

    /// Header lines for one request (each ending in CRLF), empty while no token is known. DPoP proofs are made anew for
    /// every request, so ask once for each.
    virtual core::Task<std::string> headers(core::Context const& context, std::string_view method,
                                            std::string_view url) = 0;

    /// Looks at an answer of the server: 401, or 403 with insufficient_scope, or a DPoP nonce. true = something was got
    /// that makes it worth sending the request again. Errors: kUpstreamAuth in plain words (what was asked for, what is
    /// missing, where to configure it), upstream faults of the authorisation server, kCancelled.
    /// `www_authenticate`: all of them (ClientExchange::header_list).
    /// `sent`: what headers() gave for that request; with it a late answer to an old token costs no new authorisation.
    /// Callers bound how often they send one request again (3 is plenty).
    virtual core::Task<bool> challenged(core::Context const& context, int status, std::string_view www_authenticate,
                                        std::string_view dpop_nonce, std::optional<std::string_view> sent = {}) = 0;

    /// A token that is being got is got for all: it goes on when the request that needed it first has been cancelled.
    /// close() ends that, and returns when nothing of the authorizer runs any more; nobody may be inside then.
    virtual core::Awaitable<void> close() = 0;
};

/// `loop` and `http` outlive the authorizer. `tls`: of the server's own connections, to be used for https here too;
/// null = made when needed. Without an `approver` the authorisation code grant is refused with a sentence that says how
/// to configure a grant that needs nobody.
std::unique_ptr<Authorizer> make_authorizer(std::shared_ptr<ServerSpec const> spec, net::Loop& loop,
                                            net::HttpClient& http, Approver approver = {},
                                            std::shared_ptr<net::TlsContext> tls = {},
                                            SteadyNow now = &std::chrono::steady_clock::now);

} // namespace parley::mcp

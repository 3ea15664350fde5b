// What both HTTP transports need: one URL, requests with authorisation, and event streams read message by message.
// Owned by a transport; lives on the servers' loop.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/context.hpp"
#include "core/task.hpp"
#include "mcp/transport.hpp"
#include "net/http_client.hpp"
#include "net/sse.hpp"

namespace parley::mcp {

class HttpEndpoint {
public:
    /// Errors: kInvalidValue for a URL that is none, or a CA file that cannot be read.
    static core::Result<std::unique_ptr<HttpEndpoint>> make(TransportParts const& parts,
                                                            std::shared_ptr<ServerSpec const> spec);

    using Answer = std::unique_ptr<net::ClientExchange>;

    /// Sends one request, with what the authorizer has, again after a challenge that it could meet.
    /// `context` outlives the answer. `may_repeat`: see net::ClientRequest. An answer of any status but 401 and a 403
    /// that could be met. Errors with should_retry = true: the server has certainly not acted on the request.
    core::Task<Answer> request(core::Context const& context, std::string_view method, std::string target,
                               std::string headers, std::string body, bool may_repeat = true);

    /// When no request is under way any more: ends what else runs.
    core::Awaitable<void> close() { return authorizer_->close(); }

    std::string const& target() const noexcept { return target_; } // path and query of the configured URL
    net::Upstream const& upstream() const noexcept { return *upstream_; }

    /// An answer of status 400 or above as an error; `detail` holds its body.
    static core::Awaitable<core::Error> read_error(net::ClientExchange& answer, net::Upstream const& upstream);

private:
    HttpEndpoint(TransportParts const& parts, std::shared_ptr<ServerSpec const> spec,
                 std::shared_ptr<net::Upstream const> upstream, std::string target);

    net::HttpClient& http_;
    std::shared_ptr<core::Redactor> secrets_;
    std::shared_ptr<ServerSpec const> spec_;
    std::shared_ptr<net::Upstream const> upstream_;
    std::string target_;
    std::string url_;
    std::unique_ptr<Authorizer> authorizer_;
};

/// Where an event stream stopped, so that it can be taken up again.
struct StreamPosition {
    std::string last_event_id = {};
    std::chrono::milliseconds retry{1'000};
};

/// Reads `answer` to its end or until `on_event` returns false. Errors: those of the exchange; kUpstreamInvalid.
core::Task<> read_events(net::ClientExchange& answer, StreamPosition& position,
                         std::function<bool(net::SseEvent const&)> on_event);

/// True for a value of Content-Type that begins with `type`, whatever its case and parameters.
bool is_content_type(std::string_view value, std::string_view type) noexcept;

} // namespace parley::mcp

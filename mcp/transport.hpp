// How messages travel between a session and its server: a Channel for each transport. It knows framing and delivery,
// not what messages mean. Owned by its session, lives on the servers' loop.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iterator>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/context.hpp"
#include "core/redactor.hpp"
#include "core/task.hpp"
#include "mcp/auth.hpp"
#include "mcp/sampler.hpp"
#include "mcp/server_spec.hpp"
#include "net/http_client.hpp"
#include "net/loop.hpp"

namespace parley::mcp {

/// A message on its way to the server.
struct Outgoing {
    std::string json;
    std::optional<std::int64_t> id = {};              // of a request
    std::string headers = {};                         // HTTP: lines of this message, each ending in CRLF
    std::function<void(core::Result<>)> on_sent = {}; // once the server has taken it, or cannot
    bool is_call = false;                             // of a tool, so that it is sent once: it may have an effect
};

/// What a transport tells its session. Calls come from the loop, never from inside a call to the transport.
class Inbox {
public:
    virtual ~Inbox() = default;
    virtual void on_message(std::string_view text) = 0; // one message, an array of them (2025-03-26), or no JSON at all
    virtual bool is_waiting(std::int64_t id) const = 0; // a request that has not been answered yet

    /// The answer to this request cannot come any more. An HTTP error's status and body are in upstream_status and
    /// detail. should_retry = true: the server has certainly not seen the request.
    virtual void on_failed(std::int64_t id, core::Error error) = 0;

    /// Nothing will come any more.
    virtual void on_lost(core::Error reason) = 0;
};

/// Takes a request that nobody waits for out of an outbox, so that it is never sent. The first one is on its way.
inline std::optional<Outgoing> take_unsent(std::list<Outgoing>& outbox, std::int64_t id) {
    auto const first = outbox.empty() ? outbox.end() : std::next(outbox.begin());
    auto const found = std::find_if(first, outbox.end(), [id](Outgoing const& one) { return one.id == id; });
    if (found == outbox.end()) return std::nullopt;
    auto taken = std::move(*found);
    outbox.erase(found);
    return taken;
}

class Channel {
public:
    virtual ~Channel() = default;

    /// Connects as far as that is possible before the first message. Errors: kUpstreamUnavailable and its like.
    virtual core::Task<> open(core::Context const& context, std::string headers) = 0;

    /// Sends in the order of the calls, as far as the transport has one.
    virtual void send(Outgoing message) = 0;

    /// Nobody waits for the answer to this request any more. true = the server has learnt it by that already.
    virtual bool abandon(std::int64_t id) = 0;

    /// The handshake is over: what goes with every further message. Opens the server's own stream where there is one.
    virtual void established(std::string_view protocol_version, bool modern) = 0;

    /// Ends in good order within a bounded time; then nothing of the transport runs any more.
    virtual core::Awaitable<void> close() = 0;

    /// The last lines of a program's standard error, for diagnosis.
    virtual std::string diagnosis() const { return {}; }
};

/// What all transports are made of; outlives them.
struct TransportParts {
    net::Loop& loop;
    net::HttpClient& http;
    Approver approver = {};                       // for OAuth; empty = nobody can approve
    Sampler* sampler = nullptr;                   // null: no server is offered a model
    std::shared_ptr<core::Redactor> secrets = {}; // what must not be repeated; null: nobody asks
};

std::unique_ptr<Channel> make_stdio_channel(TransportParts const& parts, std::shared_ptr<ServerSpec const> spec,
                                            Inbox& inbox);
/// Errors: kInvalidValue for a URL that is none, or a CA file that cannot be read.
core::Result<std::unique_ptr<Channel>> make_http_channel(TransportParts const& parts,
                                                         std::shared_ptr<ServerSpec const> spec, Inbox& inbox);
core::Result<std::unique_ptr<Channel>> make_sse_channel(TransportParts const& parts,
                                                        std::shared_ptr<ServerSpec const> spec, Inbox& inbox);

} // namespace parley::mcp

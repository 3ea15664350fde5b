// HTTP/1.1 client of one loop: pooled keep-alive connections per upstream, one exchange at a time on each. A socket
// that goes back to the pool is clean; one that is not is closed. Redirects are never followed.
#pragma once

#include <boost/asio/thread_pool.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/context.hpp"
#include "core/task.hpp"
#include "net/address.hpp"
#include "net/http_head.hpp"
#include "net/loop.hpp"
#include "net/url.hpp"

namespace parley::net {

class TlsContext;

struct ClientTimeouts {
    std::chrono::milliseconds connect{5'000};      // name, TCP and TLS together
    std::chrono::milliseconds first_byte{300'000}; // from the request's last byte to the answer's first
    std::chrono::milliseconds idle{60'000};        // between two pieces of the answer
    std::chrono::milliseconds total{600'000};      // of the whole exchange
};

/// Where requests go. Immutable; shared by all loops; its address is the key of the pools.
struct Upstream {
    std::string name; // for messages and metrics
    Url url;
    std::shared_ptr<TlsContext> tls; // set iff url.tls
    ClientTimeouts timeouts;
    std::size_t connections_max = 4096;           // per loop
    std::chrono::milliseconds keep_alive{50'000}; // how long an idle connection is kept
    std::string kind = "Provider";                // what messages call it, before its name in quotes
    /// For URLs that somebody else names: the host must have a public address or one of this kind, looked at after
    /// the name is resolved. Unset = any address, for URLs of the configuration.
    std::optional<AddressKind> reach = {};

    /// Provider 'name': how messages begin.
    std::string shown() const { return kind + " '" + name + "'"; }
};

struct ClientRequest {
    std::string_view method = "POST";
    std::string target;  // path and query
    std::string headers; // complete lines, each ending in CRLF, without Host, Content-Length and Connection
    std::string body;
    /// False for what must not happen twice: whether a server that closes without a word has acted is not known.
    bool may_repeat = true;
    std::string_view slice = {}; // follows `body`: a long text that need not be copied; stays until send() has ended
    std::string tail = {};       // follows `slice`
    bool* sent = nullptr;        // set once there is a connection: from then on the server may have got the request
};

/// The answer to one request. Destroying it before its end drops the connection.
class ClientExchange {
public:
    virtual ~ClientExchange() = default;

    virtual int status() const noexcept = 0;
    virtual std::string_view header(std::string_view lower_case_name) const noexcept = 0;

    /// All values of a field that is a list, e.g. www-authenticate, joined by ", " (RFC 9110 §5.3).
    virtual std::string header_list(std::string_view lower_case_name) const = 0;

    /// No field of the head is asked for again: what it takes is given back while the body is read.
    virtual void forget_head() noexcept = 0;

    /// The next bytes of the body; empty = its end. Valid until the next co_await.
    /// Errors: kUpstreamTruncated, kUpstreamTimeout, kUpstreamInvalid, kCancelled, kDeadlineExceeded.
    virtual core::Task<std::string_view> read() = 0;

    /// Hands the connection back although the body was not read to its end, if that costs no waiting.
    virtual void release() noexcept = 0;
};

class HttpClient {
public:
    HttpClient(Loop& loop, boost::asio::thread_pool& resolver_pool);
    ~HttpClient();
    HttpClient(HttpClient const&) = delete;
    HttpClient& operator=(HttpClient const&) = delete;

    /// Sends the request and waits for the head of the answer. A pooled connection that turns out to be dead before a
    /// byte of the answer came is replaced once, if the request may be repeated. `upstream` is kept alive by the
    /// exchange and the pool. Errors: kUpstreamUnavailable, kUpstreamTimeout, kUpstreamTls, kUpstreamInvalid,
    /// kOverloaded, kCancelled, kDeadlineExceeded.
    core::Task<std::unique_ptr<ClientExchange>> send(core::Context const& context,
                                                     std::shared_ptr<Upstream const> upstream, ClientRequest request);

    /// What kind of place `host` resolves to: kLoopback or kPrivate as soon as one of its addresses is.
    /// Errors: kUpstreamUnavailable (no such name), kUpstreamTimeout, kCancelled.
    core::Task<AddressKind> place_of(core::Context const& context, std::string host, std::chrono::milliseconds limit);

    /// Reads a whole body. Errors: those of ClientExchange::read; kUpstreamInvalid above `bytes_max`.
    static core::Task<std::string> read_all(ClientExchange& exchange, std::size_t bytes_max);

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace parley::net

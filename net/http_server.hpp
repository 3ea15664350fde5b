// HTTP/1.1 server of one loop: accepts, reads requests whole, hands them to a handler, writes what it says.
// Every loop has one HttpServer on the same port (SO_REUSEPORT); connections never change loops.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/context.hpp"
#include "core/task.hpp"
#include "net/http_head.hpp"
#include "net/loop.hpp"

namespace parley::net {

class TlsContext;

struct ServerLimits {
    HeadLimits head;
    std::size_t body_bytes_max = 32 * 1024 * 1024;
    std::size_t pipelined_bytes_max = 64 * 1024;    // read ahead while a request is being answered
    std::size_t unsent_bytes_max = 256 * 1024;      // a stream's writer waits above it (backpressure)
    std::size_t drained_bytes_max = 64 * 1024;      // of a refused request's body, before the connection is closed
    std::size_t connections_max = 9000;             // per loop
    std::chrono::milliseconds head_timeout{10'000}; // from its first byte (or accept) to its last
    std::chrono::milliseconds body_timeout{60'000}; // grows by body_bytes_per_second_min
    std::size_t body_bytes_per_second_min = 10 * 1024;
    std::chrono::milliseconds idle_timeout{75'000};  // between requests
    std::chrono::milliseconds stall_timeout{60'000}; // the client takes none of what we send
    std::chrono::milliseconds linger_timeout{2'000}; // for a closing client to read our last answer
    std::chrono::milliseconds heartbeat{15'000};     // silence on a stream before a comment is sent
};

/// Names, which are literals in lower case, and values, from which control characters are dropped on the way out.
using ResponseFields = std::vector<std::pair<std::string_view, std::string>>;

struct Response {
    int status = 200;
    std::string body = {};
    std::string_view content_type = "application/json"; // a literal; empty = no such field
    ResponseFields headers = {};
    bool close = false;
};

/// What the handler learned from the head and wants to know again when the body is there.
struct Ticket {
    std::size_t route = 0;
    std::string principal = {};
    std::string user_id = {}; // of whom a front end asks for; empty = the principal asks for itself
    std::string request_id = {};
    std::size_t body_bytes_max = 0; // 0 = the server's own limit
};

struct Request {
    RequestHead head; // views into head_bytes
    std::string body; // decoded; its capacity leaves 64 bytes of padding behind size()
    Ticket ticket;
    std::string head_bytes;
    std::string peer; // address:port, or the network of a public address (LogOptions::personal_data); for the log
    core::SteadyTime started;
};

/// The way back to the client, for the time of one request. Used on the connection's loop.
class Exchange {
public:
    virtual ~Exchange() = default;

    virtual Loop& loop() noexcept = 0;

    /// Cancelled when the client is gone, or when the server must stop now (then client_gone() is false).
    virtual core::Cancellation& cancellation() noexcept = 0;
    virtual bool client_gone() const noexcept = 0;

    /// Sends a whole answer. Either this once, or start_stream.
    virtual void respond(Response response) = 0;

    /// Sends the head of a streamed answer; `heartbeat` is sent whenever nothing else was for ServerLimits::heartbeat.
    virtual void start_stream(Response head, std::string_view heartbeat) = 0;

    /// Sends bytes of the stream, and waits while the client is slow. false = nobody reads any more.
    virtual core::Awaitable<bool> write(std::string_view bytes) = 0;

    /// Ends the stream in an orderly way. Without it the client sees a cut.
    virtual void finish() = 0;

    virtual bool stream_started() const noexcept = 0;
};

class HttpHandler {
public:
    virtual ~HttpHandler() = default;

    /// Decides on the head alone, before the body is read (and before "100 Continue"). A response refuses the request.
    virtual std::optional<Response> admit(RequestHead const& head, Ticket& ticket) = 0;

    /// Answers through `exchange`. Must have answered, or finished its stream, when it returns. `request` lives until
    /// then; the handler may take what it holds.
    virtual core::Awaitable<void> handle(Request& request, Exchange& exchange) = 0;

    /// The answer to what never became a request: malformed, too large, too slow.
    virtual Response refuse(int status, std::string_view reason) = 0;
};

class HttpServer {
public:
    using TlsSource = std::function<std::shared_ptr<TlsContext>()>; // asked for every new connection; null = plain

    HttpServer(Loop& loop, HttpHandler& handler, ServerLimits limits, TlsSource tls);
    ~HttpServer();
    HttpServer(HttpServer const&) = delete;
    HttpServer& operator=(HttpServer const&) = delete;

    /// Errors: kInvalidValue when somebody listens there already, which SO_REUSEPORT would hide.
    static core::Result<> check_free(std::string const& host, std::uint16_t port);

    /// Binds and listens; port 0 = any. Returns the port. Errors: kInvalidValue in plain words.
    core::Result<std::uint16_t> listen(std::string const& host, std::uint16_t port);

    /// Starts accepting, on the loop's thread.
    void start();

    /// No new connections; idle ones close now, others after their answer.
    void drain();

    /// Cancels what still runs, so that it ends with an error event.
    void cut();

    std::size_t connections() const noexcept;

private:
    class Impl;
    friend class Connection;
    std::shared_ptr<Impl> impl_;
};

std::string_view status_text(int status) noexcept;

} // namespace parley::net

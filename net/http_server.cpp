#include "net/http_server.hpp"

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>

#include <sys/socket.h>

#include "net/address.hpp"
#include "net/http_connection.hpp"
#include "net/tls.hpp"

namespace parley::net {

namespace asio = boost::asio;
using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, core::Executor>;

namespace {

core::Error cannot_listen(std::string const& host, std::uint16_t port, std::string const& why) {
    return core::make_error(core::Errc::kInvalidValue,
                            "cannot listen on " + host + " port " + std::to_string(port) + ": " + why);
}

core::Result<> bind(Acceptor& acceptor, std::string const& host, std::uint16_t port, bool shared) {
    boost::system::error_code error;
    auto const address = asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, error);
    if (error) return cannot_listen(host, port, "the host must be an address such as 127.0.0.1, 0.0.0.0 or ::");
    asio::ip::tcp::endpoint const endpoint(address, port);
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
    int const on = 1;
    if (!error && shared && ::setsockopt(acceptor.native_handle(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
        error = {errno, boost::system::system_category()};
    }
    if (!error) acceptor.bind(endpoint, error);
    if (error) return cannot_listen(host, port, error.message());
    return {};
}

} // namespace

class HttpServer::Impl : public std::enable_shared_from_this<HttpServer::Impl> {
public:
    Impl(Loop& loop, HttpHandler& handler, ServerLimits limits, TlsSource tls)
        : loop_(loop), handler_(handler), limits_(limits), tls_(std::move(tls)), acceptor_(loop.executor()) {}

    core::Result<std::uint16_t> listen(std::string const& host, std::uint16_t port) {
        auto const bound = bind(acceptor_, host, port, true);
        if (!bound) return bound.error();
        boost::system::error_code error;
        acceptor_.listen(asio::socket_base::max_listen_connections, error);
        if (error) return cannot_listen(host, port, error.message());
        return acceptor_.local_endpoint().port();
    }

    core::Awaitable<void> accept() {
        auto const self = shared_from_this();
        while (acceptor_.is_open()) {
            boost::system::error_code error;
            asio::ip::tcp::endpoint peer;
            auto socket =
                co_await acceptor_.async_accept(loop_.executor(), peer, asio::redirect_error(use_awaitable, error));
            if (!acceptor_.is_open() && error) co_return; // one that is in already is let in, like the others: drain()
            if (error) {                                  // out of descriptors, mostly: give others time to close
                loop_.log().warn("accept_failed").add("reason", error.message());
                asio::steady_timer pause(loop_.context(), std::chrono::milliseconds(100));
                co_await pause.async_wait(asio::redirect_error(use_awaitable, error));
                continue;
            }
            if (count_ >= limits_.connections_max) continue; // the socket closes itself
            adopt(std::move(socket), peer);
            if (!acceptor_.is_open()) for_each([](Connection& connection) { connection.drain(); });
        }
    }

    // One connection that cannot be set up (memory, OpenSSL) must not end the accepting of others.
    void adopt(TcpSocket socket, asio::ip::tcp::endpoint const& peer) noexcept {
        try {
            set_up(std::move(socket), peer);
        } catch (std::exception const& e) {
            loop_.log().error("connection_refused").add("reason", e.what());
        }
    }

    void set_up(TcpSocket socket, asio::ip::tcp::endpoint const& peer) {
        boost::system::error_code ignored;
        socket.set_option(asio::ip::tcp::no_delay(true), ignored);
        socket.non_blocking(true, ignored);
        auto context = tls_ ? tls_() : nullptr;
        auto const tls = context != nullptr;
        auto stream = tls ? make_tls_server_stream(loop_, std::move(socket), std::move(context))
                          : make_plain_stream(loop_, std::move(socket));
        auto name = peer.address().to_string();
        name = (peer.address().is_v6() ? "[" + name + "]:" : name + ":") + std::to_string(peer.port());
        if (!loop_.log().options().personal_data) name = network_of(name);
        auto const connection =
            std::make_shared<Connection>(loop_, handler_, limits_, std::move(stream), std::move(name), tls);
        connections_.push_back(*connection);
        ++count_;
        asio::co_spawn(loop_.context(), serve(shared_from_this(), connection), asio::detached);
    }

    // Counts as inside until the connection is done: stop() waits for all of these.
    static core::Awaitable<void> serve(std::shared_ptr<Impl> self, std::shared_ptr<Connection> connection) {
        try {
            co_await connection->run();
        } catch (std::exception const& e) {
            self->loop_.log().error("connection_threw").add("what", e.what());
            connection->abort();
        }
        connection->unlink();
        --self->count_;
    }

    void drain() {
        // Who connected before we closed the door is let in; closing it would reset them unheard.
        boost::system::error_code error;
        acceptor_.non_blocking(true, error);
        while (!error) {
            asio::ip::tcp::endpoint peer;
            TcpSocket socket(loop_.executor());
            acceptor_.accept(socket, peer, error);
            if (!error) adopt(std::move(socket), peer);
        }
        acceptor_.close(error);
        for_each([](Connection& connection) { connection.drain(); });
    }

    template <class Action>
    void for_each(Action action) {
        for (auto it = connections_.begin(); it != connections_.end();) {
            auto& connection = *it;
            ++it; // the action may end this one
            action(connection);
        }
    }

    Loop& loop_;
    HttpHandler& handler_;
    ServerLimits limits_;
    TlsSource tls_;
    Acceptor acceptor_;
    boost::intrusive::list<Connection, boost::intrusive::constant_time_size<false>> connections_;
    std::size_t count_ = 0;
};

HttpServer::HttpServer(Loop& loop, HttpHandler& handler, ServerLimits limits, TlsSource tls)
    : impl_(std::make_shared<Impl>(loop, handler, limits, std::move(tls))) {}

HttpServer::~HttpServer() {
    boost::system::error_code ignored;
    impl_->acceptor_.close(ignored);
    impl_->for_each([](Connection& connection) { connection.abort(); });
}

core::Result<std::uint16_t> HttpServer::listen(std::string const& host, std::uint16_t port) {
    return impl_->listen(host, port);
}

core::Result<> HttpServer::check_free(std::string const& host, std::uint16_t port) {
    asio::io_context context;
    Acceptor probe(context.get_executor());
    return bind(probe, host, port, false);
}

void HttpServer::start() {
    asio::co_spawn(impl_->loop_.context(), impl_->accept(), asio::detached);
}
void HttpServer::drain() {
    impl_->drain();
}
void HttpServer::cut() {
    impl_->for_each([](Connection& connection) { connection.cut(); });
}
std::size_t HttpServer::connections() const noexcept {
    return impl_->count_;
}

std::string_view status_text(int status) noexcept {
    switch (status) {
        case 200:
            return "OK";
        case 204:
            return "No Content";
        case 400:
            return "Bad Request";
        case 401:
            return "Unauthorized";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 408:
            return "Request Timeout";
        case 409:
            return "Conflict";
        case 413:
            return "Content Too Large";
        case 414:
            return "URI Too Long";
        case 415:
            return "Unsupported Media Type";
        case 417:
            return "Expectation Failed";
        case 422:
            return "Unprocessable Content";
        case 429:
            return "Too Many Requests";
        case 431:
            return "Request Header Fields Too Large";
        case 500:
            return "Internal Server Error";
        case 501:
            return "Not Implemented";
        case 502:
            return "Bad Gateway";
        case 503:
            return "Service Unavailable";
        case 504:
            return "Gateway Timeout";
        case 505:
            return "HTTP Version Not Supported";
        default:
            return "Status";
    }
}

} // namespace parley::net

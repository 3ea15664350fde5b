#include "net/http_client.hpp"

#include <boost/asio/redirect_error.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <sys/socket.h>

#include "net/dns.hpp"
#include "net/http_exchange.hpp"
#include "net/signal.hpp"
#include "net/stream.hpp"
#include "net/tls.hpp"

namespace parley::net {
namespace {

using core::Errc;
using core::make_error;
using std::chrono::steady_clock;

constexpr core::MetricName kConnects{"parley_upstream_connects_total", "Connections opened to providers.",
                                     core::MetricKind::kCounter};
constexpr core::MetricName kOpen{"parley_upstream_connections", "Connections to providers now open.",
                                 core::MetricKind::kGauge};

} // namespace

class HttpClient::Impl {
public:
    Impl(Loop& loop, boost::asio::thread_pool& resolver_pool)
        : loop_(loop), resolver_(loop, resolver_pool), tidy_timer_(loop, Tidy{this}) {
        tidy_timer_.after(kTidyInterval);
    }

    core::Task<std::unique_ptr<ClientExchange>> send(core::Context const& context,
                                                     std::shared_ptr<Upstream const> upstream, ClientRequest request) {
        auto const pool = pool_of(upstream);
        auto const head = request_head(*upstream, request);
        auto const total_end = std::min(steady_clock::now() + upstream->timeouts.total, context.deadline);
        for (auto fresh = false;; fresh = true) {
            if (context.cancellation.cancelled()) co_return make_error(Errc::kCancelled, "The client went away.");
            auto lease = fresh ? std::nullopt : take_idle(pool);
            if (!lease) {
                auto opened = co_await open(context, pool);
                if (!opened) co_return opened.error();
                lease.emplace(std::move(*opened));
            }
            if (request.sent) *request.sent = true;
            auto const reused = lease->reused();
            auto exchange = std::make_unique<PooledExchange>(loop_, context, upstream, std::move(*lease), total_end);
            auto untouched = true;
            auto pieces =
                std::array<std::string_view, Stream::kPiecesMax>{head, request.body, request.slice, request.tail};
            auto const answered = co_await exchange->exchange(pieces, request.method == "HEAD", untouched);
            if (answered) {
                co_return std::unique_ptr<ClientExchange>(std::move(exchange));
            }
            // A kept connection that the server was just closing, most likely: then it has not seen this request.
            auto const stale =
                request.may_repeat && reused && untouched && answered.error().code == Errc::kUpstreamUnavailable;
            if (!stale) co_return answered.error();
        }
    }

    core::Task<AddressKind> place_of(core::Context const& context, std::string host, std::chrono::milliseconds limit) {
        auto const until = std::min(steady_clock::now() + limit, context.deadline);
        auto const endpoints = co_await resolver_.resolve(context, host, 0, until);
        if (!endpoints) co_return endpoints.error();
        auto place = AddressKind::kPublic;
        for (auto const& endpoint : *endpoints) {
            auto const kind = address_kind(endpoint.address().to_string());
            if (kind != AddressKind::kPublic) place = kind;
        }
        co_return place;
    }

private:
    static constexpr std::chrono::milliseconds kTidyInterval{5'000};
    struct Tidy {
        Impl* self;
        void operator()() const noexcept { self->tidy(); }
    };

    // Closes what idles too long and forgets upstreams that nobody else holds any more.
    void tidy() {
        auto const now = steady_clock::now();
        for (auto it = pools_.begin(); it != pools_.end();) {
            auto& pool = *it->second;
            auto const closed = static_cast<std::ptrdiff_t>(std::erase_if(pool.idle, [&](Idle const& idle) {
                return now - idle.since >= pool.upstream->keep_alive || !is_usable(*idle.stream);
            }));
            pool.open -= static_cast<std::size_t>(closed);
            pool.open_gauge->add(-closed);
            auto const forgotten = pool.open == 0 && it->second.use_count() == 1 && pool.upstream.use_count() == 1;
            it = forgotten ? pools_.erase(it) : std::next(it);
        }
        tidy_timer_.after(kTidyInterval);
    }

    std::shared_ptr<Pool> pool_of(std::shared_ptr<Upstream const> const& upstream) {
        auto& pool = pools_[upstream.get()];
        if (!pool) {
            pool = std::make_shared<Pool>();
            pool->upstream = upstream;
            pool->connects = &loop_.metrics().counter(kConnects, {{"provider", upstream->name}});
            pool->open_gauge = &loop_.metrics().counter(kOpen, {{"provider", upstream->name}});
        }
        return pool;
    }

    static std::string request_head(Upstream const& upstream, ClientRequest const& request) {
        std::string head;
        head.reserve(request.headers.size() + request.target.size() + 128);
        head.append(request.method).append(" ").append(request.target).append(" HTTP/1.1\r\nhost: ");
        head.append(upstream.url.authority()).append("\r\n").append(request.headers);
        auto const length = request.body.size() + request.slice.size() + request.tail.size();
        if (length != 0) head.append("content-length: ").append(std::to_string(length)).append("\r\n");
        head.append("\r\n");
        return head;
    }

    static std::optional<Lease> take_idle(std::shared_ptr<Pool> const& pool) {
        while (!pool->idle.empty()) {
            auto idle = std::move(pool->idle.back());
            pool->idle.pop_back();
            auto lease = Lease(pool, std::move(idle.stream), true);
            if (is_usable(lease.stream())) return lease;
        }
        return std::nullopt;
    }

    core::Task<Lease> open(core::Context const& context, std::shared_ptr<Pool> pool) {
        if (pool->open >= pool->upstream->connections_max) {
            co_return make_error(Errc::kOverloaded,
                                 "Too many requests are under way: " + pool->upstream->shown() + ".");
        }
        ++pool->open; // counted from the attempt on, so that a burst cannot pass the limit
        pool->open_gauge->add(1);
        Lease lease(pool, nullptr, false);
        auto stream = co_await connect(context, *pool);
        if (!stream) co_return stream.error();
        lease.take(std::move(*stream));
        pool->connects->add();
        co_return std::move(lease);
    }

    core::Task<std::unique_ptr<Stream>> connect(core::Context const& context, Pool& pool) {
        auto const upstream = pool.upstream;
        auto const until = std::min(steady_clock::now() + upstream->timeouts.connect, context.deadline);
        auto const endpoints = co_await resolver_.resolve(context, upstream->url.host, upstream->url.port, until);
        if (!endpoints) {
            auto error = endpoints.error();
            if (error.code != Errc::kCancelled)
                error.message = upstream->shown() + " cannot be reached. " + error.message;
            co_return error;
        }
        std::string reason = "no address";
        auto left = std::ssize(*endpoints);
        for (auto const& endpoint : *endpoints) {
            auto const now = steady_clock::now();
            auto const share = now + (until - now) / left--; // one that does not answer leaves time for the others
            if (!is_allowed(*upstream, endpoint)) {
                reason = "its address is not a public one";
                continue;
            }
            TcpSocket socket(loop_.executor());
            auto expired = false;
            auto stop = [&socket]() noexcept {
                boost::system::error_code ignored;
                socket.close(ignored);
            };
            auto expire = [&expired, &stop]() noexcept {
                expired = true;
                stop();
            };
            boost::system::error_code error;
            {
                core::OnCancel const on_cancel(context.cancellation, stop);
                OnDeadline deadline(loop_, expire);
                deadline.at(share);
                co_await socket.async_connect(endpoint, boost::asio::redirect_error(use_awaitable, error));
            }
            if (context.cancellation.cancelled()) co_return make_error(Errc::kCancelled, "The client went away.");
            if (expired && left == 0) co_return connect_timeout(*upstream);
            if (expired) error = boost::asio::error::timed_out;
            if (error) {
                reason = error.message();
                continue;
            }
            boost::system::error_code ignored;
            socket.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
            socket.set_option(boost::asio::socket_base::keep_alive(true), ignored);
            socket.non_blocking(true, ignored);
            co_return co_await secure(context, pool, std::move(socket), until);
        }
        co_return make_error(Errc::kUpstreamUnavailable, upstream->shown() + " cannot be reached at " +
                                                             upstream->url.authority() + ": " + reason + ".");
    }

    core::Task<std::unique_ptr<Stream>> secure(core::Context const& context, Pool& pool, TcpSocket socket,
                                               core::SteadyTime until) {
        auto const& upstream = *pool.upstream;
        if (!upstream.url.tls) co_return make_plain_stream(loop_, std::move(socket));
        auto stream = make_tls_client_stream(loop_, std::move(socket), upstream.tls, upstream.url.host, pool.sessions);
        auto expired = false;
        auto stop = [&stream]() noexcept { stream->abort(); };
        auto expire = [&expired, &stream]() noexcept {
            expired = true;
            stream->abort();
        };
        core::OnCancel const on_cancel(context.cancellation, stop);
        OnDeadline deadline(loop_, expire);
        deadline.at(until);
        auto const shaken = co_await stream->handshake();
        if (context.cancellation.cancelled()) co_return make_error(Errc::kCancelled, "The client went away.");
        if (expired) co_return connect_timeout(upstream);
        if (!shaken) {
            co_return make_error(Errc::kUpstreamTls,
                                 "The TLS connection failed: " + upstream.shown() + ": " + shaken.error().detail + ".");
        }
        co_return std::move(stream);
    }

    static bool is_allowed(Upstream const& upstream, boost::asio::ip::tcp::endpoint const& endpoint) {
        if (!upstream.reach) return true;
        auto const kind = address_kind(endpoint.address().to_string());
        return kind == AddressKind::kPublic || (kind != AddressKind::kNone && kind == *upstream.reach);
    }

    static core::Error connect_timeout(Upstream const& upstream) {
        return make_error(Errc::kUpstreamTimeout, upstream.shown() + " cannot be reached: no connection to " +
                                                      upstream.url.authority() + " in time.");
    }

    Loop& loop_;
    Resolver resolver_;
    std::map<Upstream const*, std::shared_ptr<Pool>> pools_;
    OnDeadline<Tidy> tidy_timer_;
};

HttpClient::HttpClient(Loop& loop, boost::asio::thread_pool& resolver_pool)
    : impl_(std::make_unique<Impl>(loop, resolver_pool)) {}
HttpClient::~HttpClient() = default;

core::Task<std::unique_ptr<ClientExchange>> HttpClient::send(core::Context const& context,
                                                             std::shared_ptr<Upstream const> upstream,
                                                             ClientRequest request) {
    return impl_->send(context, std::move(upstream), std::move(request));
}

core::Task<AddressKind> HttpClient::place_of(core::Context const& context, std::string host,
                                             std::chrono::milliseconds limit) {
    return impl_->place_of(context, std::move(host), limit);
}

core::Task<std::string> HttpClient::read_all(ClientExchange& exchange, std::size_t bytes_max) {
    std::string body;
    for (;;) {
        auto const piece = co_await exchange.read();
        if (!piece) co_return piece.error();
        if (piece->empty()) co_return body;
        if (body.size() + piece->size() > bytes_max) {
            co_return make_error(Errc::kUpstreamInvalid,
                                 "The answer is larger than " + std::to_string(bytes_max) + " bytes.");
        }
        body.append(*piece);
    }
}

} // namespace parley::net

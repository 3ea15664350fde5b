#include "net/http_client.hpp"

#include <boost/asio/redirect_error.hpp>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include <sys/socket.h>

#include "net/dns.hpp"
#include "net/signal.hpp"
#include "net/stream.hpp"
#include "net/tls.hpp"

namespace parley::net {
namespace {

using core::Errc;
using core::make_error;
using std::chrono::steady_clock;

constexpr HeadLimits kAnswerLimits{32 * 1024, 8 * 1024, 200};
constexpr int kInterimAnswersMax = 16; // 1xx before the real one
constexpr core::MetricName kConnects{"parley_upstream_connects_total", "Connections opened to providers.",
                                     core::MetricKind::kCounter};
constexpr core::MetricName kOpen{"parley_upstream_connections", "Connections to providers now open.",
                                 core::MetricKind::kGauge};

struct Idle {
    std::unique_ptr<Stream> stream;
    core::SteadyTime since;
};

struct Pool {
    std::shared_ptr<Upstream const> upstream;
    std::vector<Idle> idle; // the warmest last
    std::size_t open = 0;   // idle and in use
    TlsSessionCache sessions;
    core::Counter* connects = nullptr;
    core::Counter* open_gauge = nullptr;
};

// Nothing to read and not closed: what an idle connection must look like.
bool is_usable(Stream& stream) noexcept {
    if (!stream.is_open() || stream.has_buffered()) return false;
    char byte = 0;
    auto const n = ::recv(stream.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

// An open connection counts in its pool until it dies or goes idle.
class Lease {
public:
    Lease(std::shared_ptr<Pool> pool, std::unique_ptr<Stream> stream, bool reused)
        : pool_(std::move(pool)), stream_(std::move(stream)), reused_(reused) {}
    Lease(Lease&& other) noexcept = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
        if (!pool_) return;
        if (stream_ && stream_->is_open()) {
            stream_->shutdown_send();
            stream_->abort();
        }
        --pool_->open;
        pool_->open_gauge->add(-1);
    }

    Stream& stream() noexcept { return *stream_; }
    bool reused() const noexcept { return reused_; }

    void give_back() noexcept {
        if (!pool_ || !stream_ || !stream_->is_open()) return;
        pool_->idle.push_back({std::move(stream_), steady_clock::now()});
        pool_.reset();
    }

private:
    std::shared_ptr<Pool> pool_;
    std::unique_ptr<Stream> stream_;
    bool reused_;
};

enum class Wait : std::uint8_t { kFirstByte, kIdle, kTotal };

class PooledExchange final : public ClientExchange {
public:
    PooledExchange(Loop& loop, core::Context const& context, std::shared_ptr<Upstream const> upstream, Lease lease,
                   core::SteadyTime total_end)
        : loop_(loop),
          context_(context),
          upstream_(std::move(upstream)),
          lease_(std::move(lease)),
          total_end_(total_end),
          deadline_(loop, Expire{this}),
          on_cancel_(context.cancellation, Stop{this}) {}

    int status() const noexcept override { return head_.status; }
    std::string_view header(std::string_view name) const noexcept override { return head_.get(name); }

    /// true = the head is read. Errors as HttpClient::send. `untouched` tells whether nothing at all came back.
    core::Task<> exchange(std::string_view head, std::string_view body, bool to_head_request, bool& untouched) {
        untouched = true;
        wait_for(Wait::kFirstByte, upstream_->timeouts.first_byte);
        auto const written = co_await write_all(lease_.stream(), head, body);
        // A server may refuse early and close; what it says counts more than that our last bytes were not taken.
        std::string bytes;
        auto interim = 0;
        for (;;) {
            if (!bytes.empty()) {
                auto const parsed = parse_response_head(bytes, kAnswerLimits, to_head_request, head_);
                if (parsed.status == HeadStatus::kBad) co_return invalid(parsed.reason);
                if (parsed.status == HeadStatus::kDone && head_.status >= 200) {
                    take_head(std::move(bytes), parsed.bytes);
                    co_return core::Result<>{};
                }
                if (parsed.status == HeadStatus::kDone) {
                    if (head_.status == 101 || ++interim > kInterimAnswersMax)
                        co_return invalid("It sends interim answers without end.");
                    bytes.erase(0, parsed.bytes);
                    continue;
                }
            }
            auto const got = co_await read_some(lease_.stream(), loop_.scratch());
            if (got.status != IoStatus::kOk) {
                co_return failed(written ? "It closed the connection before answering." : "It closed the connection.");
            }
            untouched = false;
            bytes.append(loop_.scratch().data(), got.bytes);
        }
    }

    core::Task<std::string_view> read() override {
        if (ended_) co_return std::string_view{};
        wait_for(Wait::kIdle, upstream_->timeouts.idle);
        for (;;) {
            std::span<char> piece;
            if (!carry_.empty()) {
                current_ = std::exchange(carry_, {});
                piece = {current_.data(), current_.size()};
            } else {
                auto const got = co_await read_some(lease_.stream(), loop_.scratch());
                if (got.status == IoStatus::kEof && head_.body == BodyKind::kUntilClose && !stopped()) {
                    end(false);
                    co_return std::string_view{};
                }
                if (got.status != IoStatus::kOk)
                    co_return failed("The connection was lost in the middle of the answer.", Errc::kUpstreamTruncated);
                piece = loop_.scratch().first(got.bytes);
            }
            auto const data = unframe(piece);
            if (!data) co_return data.error();
            if (!data->empty() || ended_) co_return *data;
        }
    }

    void release() noexcept override {
        if (ended_ || head_.body != BodyKind::kChunked || !carry_.empty()) return;
        auto const got = lease_.stream().try_read(loop_.scratch());
        if (got.status == IoStatus::kOk) (void)unframe(loop_.scratch().first(got.bytes));
    }

    void no_body_follows() noexcept { end(head_.keep_alive && carry_.empty()); }
    bool bodiless() const noexcept {
        return head_.body == BodyKind::kNone || (head_.body == BodyKind::kLength && head_.content_length == 0);
    }

private:
    struct Expire {
        PooledExchange* self;
        void operator()() const noexcept {
            self->timed_out_ = true;
            self->lease_.stream().abort();
        }
    };
    struct Stop {
        PooledExchange* self;
        void operator()() const noexcept {
            if (!self->ended_) self->lease_.stream().abort();
        }
    };

    void take_head(std::string bytes, std::size_t head_size) {
        if (bytes.size() > head_size) carry_.assign(bytes, head_size);
        head_bytes_ = std::move(bytes); // a long string: the fields' views into it stay valid
        left_ = head_.content_length;
    }

    bool stopped() const noexcept { return timed_out_ || context_.cancellation.cancelled(); }

    void wait_for(Wait what, std::chrono::milliseconds limit) {
        auto const until = steady_clock::now() + limit;
        waiting_ = until < total_end_ ? what : Wait::kTotal;
        deadline_.at(std::min(until, total_end_));
    }

    // Takes the framing off, in place: everything in `piece` is dealt with when this returns.
    core::Result<std::string_view> unframe(std::span<char> piece) noexcept {
        if (head_.body == BodyKind::kUntilClose) return std::string_view(piece.data(), piece.size());
        if (head_.body == BodyKind::kLength) {
            auto const n = static_cast<std::size_t>(std::min<std::uint64_t>(left_, piece.size()));
            left_ -= n;
            if (left_ == 0) end(head_.keep_alive && n == piece.size());
            return std::string_view(piece.data(), n);
        }
        std::string_view rest(piece.data(), piece.size());
        std::string_view data;
        std::size_t size = 0;
        auto status = chunks_.next(rest, data);
        while (status == ChunkedReader::Status::kData) {
            std::memmove(piece.data() + size, data.data(), data.size());
            size += data.size();
            status = chunks_.next(rest, data);
        }
        if (status == ChunkedReader::Status::kBad) return invalid("Its chunked body is malformed.");
        if (status == ChunkedReader::Status::kDone) end(head_.keep_alive && rest.empty());
        return std::string_view(piece.data(), size);
    }

    void end(bool reusable) noexcept {
        ended_ = true;
        deadline_.never();
        if (reusable) lease_.give_back();
    }

    core::Error invalid(std::string_view why) {
        return make_error(Errc::kUpstreamInvalid, "Provider '" + upstream_->name +
                                                      "' sent an answer that is not valid HTTP. " + std::string(why));
    }

    core::Error failed(std::string_view why, Errc code = Errc::kUpstreamUnavailable) {
        if (context_.cancellation.cancelled()) return make_error(Errc::kCancelled, "The client went away.");
        if (timed_out_) {
            if (waiting_ == Wait::kTotal && context_.deadline <= total_end_) {
                return make_error(Errc::kDeadlineExceeded, "The run took longer than this agent may take.");
            }
            auto const what = waiting_ == Wait::kFirstByte ? "did not start to answer in time."
                              : waiting_ == Wait::kIdle    ? "stopped answering in the middle."
                                                           : "took too long to answer.";
            return make_error(Errc::kUpstreamTimeout, "Provider '" + upstream_->name + "' " + what);
        }
        return make_error(code, "Provider '" + upstream_->name + "' cannot be reached. " + std::string(why), {},
                          lease_.stream().last_error());
    }

    Loop& loop_;
    core::Context const& context_;
    std::shared_ptr<Upstream const> upstream_;
    Lease lease_;
    core::SteadyTime total_end_;
    OnDeadline<Expire> deadline_;
    core::OnCancel<Stop> on_cancel_;
    std::string head_bytes_;
    ResponseHead head_;
    ChunkedReader chunks_;
    std::string carry_;   // body bytes that came with the head
    std::string current_; // what read() last gave out of carry_
    std::uint64_t left_ = 0;
    Wait waiting_ = Wait::kFirstByte;
    bool ended_ = false;
    bool timed_out_ = false;
};

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
            auto lease = co_await acquire(context, pool, fresh);
            if (!lease) co_return lease.error();
            auto const reused = lease->reused();
            auto exchange = std::make_unique<PooledExchange>(loop_, context, upstream, std::move(*lease), total_end);
            auto untouched = true;
            auto const answered = co_await exchange->exchange(head, request.body, request.method == "HEAD", untouched);
            if (answered) {
                if (exchange->bodiless()) exchange->no_body_follows();
                co_return std::unique_ptr<ClientExchange>(std::move(exchange));
            }
            // A kept connection that the server was just closing: it has not seen this request.
            auto const stale = reused && untouched && answered.error().code == Errc::kUpstreamUnavailable;
            if (!stale) co_return answered.error();
        }
    }

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

    std::size_t open_connections() const noexcept {
        std::size_t n = 0;
        for (auto const& [key, pool] : pools_)
            n += pool->open;
        return n;
    }

private:
    static constexpr std::chrono::milliseconds kTidyInterval{5'000};
    struct Tidy {
        Impl* self;
        void operator()() const noexcept { self->tidy(); }
    };

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
        if (!request.body.empty())
            head.append("content-length: ").append(std::to_string(request.body.size())).append("\r\n");
        head.append("\r\n");
        return head;
    }

    core::Task<Lease> acquire(core::Context const& context, std::shared_ptr<Pool> pool, bool fresh) {
        if (context.cancellation.cancelled()) co_return make_error(Errc::kCancelled, "The client went away.");
        while (!fresh && !pool->idle.empty()) {
            auto idle = std::move(pool->idle.back());
            pool->idle.pop_back();
            auto lease = Lease(pool, std::move(idle.stream), true);
            if (is_usable(lease.stream())) co_return std::move(lease);
        }
        if (pool->open >= pool->upstream->connections_max) {
            co_return make_error(Errc::kOverloaded,
                                 "Too many requests to provider '" + pool->upstream->name + "' are under way.");
        }
        ++pool->open; // counted from the attempt on, so that a burst cannot pass the limit
        pool->open_gauge->add(1);
        auto stream = co_await connect(context, *pool);
        auto lease = Lease(pool, stream ? std::move(*stream) : nullptr, false);
        if (!stream) co_return stream.error();
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
                error.message = "Provider '" + upstream->name + "' cannot be reached. " + error.message;
            co_return error;
        }
        std::string reason = "no address";
        for (auto const& endpoint : *endpoints) {
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
                deadline.at(until);
                co_await socket.async_connect(endpoint, boost::asio::redirect_error(use_awaitable, error));
            }
            if (context.cancellation.cancelled()) co_return make_error(Errc::kCancelled, "The client went away.");
            if (expired) co_return connect_timeout(*upstream);
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
        co_return make_error(Errc::kUpstreamUnavailable, "Provider '" + upstream->name + "' cannot be reached at " +
                                                             upstream->url.authority() + ": " + reason + ".");
    }

    core::Task<std::unique_ptr<Stream>> secure(core::Context const& context, Pool& pool, TcpSocket socket,
                                               core::SteadyTime until) {
        auto const& upstream = *pool.upstream;
        if (!upstream.url.tls) co_return make_plain_stream(std::move(socket));
        auto stream = make_tls_client_stream(std::move(socket), upstream.tls, upstream.url.host, pool.sessions);
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
            co_return make_error(Errc::kUpstreamTls, "The TLS connection to provider '" + upstream.name +
                                                         "' failed: " + shaken.error().detail + ".");
        }
        co_return std::move(stream);
    }

    static core::Error connect_timeout(Upstream const& upstream) {
        return make_error(Errc::kUpstreamTimeout, "Provider '" + upstream.name +
                                                      "' cannot be reached: no connection to " +
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

core::Task<std::string> HttpClient::read_all(ClientExchange& exchange, std::size_t bytes_max) {
    std::string body;
    for (;;) {
        auto const piece = co_await exchange.read();
        if (!piece) co_return piece.error();
        if (piece->empty()) co_return body;
        if (body.size() + piece->size() > bytes_max) {
            co_return make_error(Errc::kUpstreamInvalid,
                                 "The provider's answer is larger than " + std::to_string(bytes_max) + " bytes.");
        }
        body.append(*piece);
    }
}

void HttpClient::tidy() {
    impl_->tidy();
}
std::size_t HttpClient::open_connections() const noexcept {
    return impl_->open_connections();
}

} // namespace parley::net

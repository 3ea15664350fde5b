// One request and its answer on a pooled connection. Private to net/: HttpClient makes them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/http_chunked.hpp"
#include "net/http_client.hpp"
#include "net/stream.hpp"
#include "net/tls.hpp"

namespace parley::net {

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

/// Nothing to read and not closed: what an idle connection must look like.
bool is_usable(Stream& stream) noexcept;

/// An open connection counts in its pool until it dies or goes idle.
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

    void take(std::unique_ptr<Stream> stream) noexcept { stream_ = std::move(stream); } // once it is connected
    Stream& stream() noexcept { return *stream_; }
    bool reused() const noexcept { return reused_; }

    void give_back() noexcept {
        if (!pool_ || !stream_ || !stream_->is_open()) return;
        pool_->idle.push_back({std::move(stream_), std::chrono::steady_clock::now()});
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
    /// `context` outlives the exchange.
    PooledExchange(Loop& loop, core::Context const& context, std::shared_ptr<Upstream const> upstream, Lease lease,
                   core::SteadyTime total_end);

    int status() const noexcept override { return head_.status; }
    std::string_view header(std::string_view name) const noexcept override { return head_.get(name); }
    std::string header_list(std::string_view name) const override;
    void forget_head() noexcept override { forgets_head_ = true; }

    /// Sends the request and reads the head of the answer. Errors as HttpClient::send.
    /// `untouched` tells whether nothing at all came back.
    core::Task<> exchange(std::span<std::string_view> request, bool to_head_request, bool& untouched);

    core::Task<std::string_view> read() override;
    void release() noexcept override;

private:
    struct Expire {
        PooledExchange* self;
        void operator()() const noexcept { self->expire(); }
    };
    struct Stop {
        PooledExchange* self;
        void operator()() const noexcept {
            if (!self->ended_) self->lease_.stream().abort();
        }
    };

    void take_head(std::string bytes, std::size_t head_size);
    void drop_head() noexcept;
    void wait_for(Wait what, std::chrono::milliseconds limit);
    void expire() noexcept;
    core::Result<std::string_view> unframe(std::span<char> piece) noexcept;
    core::Result<std::string_view> unchunk(std::span<char> piece) noexcept;
    void end(bool reusable) noexcept;
    bool stopped() const noexcept { return timed_out_ || context_.cancellation.cancelled(); }
    core::Error invalid(std::string_view why) const;
    core::Error failed(std::string_view why, core::Errc code = core::Errc::kUpstreamUnavailable);

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
    std::span<char> carry_; // body bytes that came with the head, in head_bytes_, until they are read
    std::uint64_t left_ = 0;
    Wait waiting_ = Wait::kFirstByte;
    bool is_read_ =
        false; // somebody waits for the server; else for whoever reads us, which is no fault of the server's
    bool forgets_head_ = false;
    bool ended_ = false;
    bool timed_out_ = false;
};

} // namespace parley::net

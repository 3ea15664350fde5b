// One client connection: the state machine behind HttpServer. Private to net/.
#pragma once

#include <boost/intrusive/list.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "net/http_server.hpp"
#include "net/signal.hpp"
#include "net/stream.hpp"

namespace parley::net {

/// Kept alive by its own coroutine; listed in its server for drain and cut.
class Connection final
    : public Exchange,
      private Stream::Observer,
      public std::enable_shared_from_this<Connection>,
      public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
public:
    Connection(Loop& loop, HttpHandler& handler, ServerLimits const& limits, std::unique_ptr<Stream> stream,
               std::string peer, bool tls);

    core::Awaitable<void> run();

    void drain() noexcept; // close when idle, now or after the current answer
    void cut() noexcept;   // cancel the current answer
    void abort() noexcept; // gone at once

    Loop& loop() noexcept override { return loop_; }
    core::Cancellation& cancellation() noexcept override { return *cancellation_; }
    bool client_gone() const noexcept override { return client_gone_; }
    void respond(Response response) override;
    void start_stream(Response head, std::string_view heartbeat) override;
    core::Awaitable<bool> write(std::string_view bytes) override;
    void finish() override;
    bool stream_started() const noexcept override {
        return answer_ == Answer::kStream || answer_ == Answer::kStreamEnded;
    }

private:
    static constexpr std::chrono::milliseconds kFirstRequestGrace{500}; // for who connected just before a drain

    enum class Phase : std::uint8_t { kIdle, kHead, kBody, kHandling, kClosing };
    enum class Answer : std::uint8_t { kNone, kWhole, kStream, kStreamEnded };
    enum class Next : std::uint8_t { kAgain, kClose };

    core::Awaitable<Next> serve_one();
    std::unique_ptr<Response> admit(Request& request);
    std::size_t body_bytes_max(Request const& request) const noexcept;
    core::Awaitable<bool> read_head(RequestHead& head);
    static bool has_whole_body(Request const& request) noexcept;
    core::Awaitable<bool> read_body(Request& request);
    core::Awaitable<bool> read_length(Request& request);
    core::Awaitable<bool> read_chunked(Request& request, std::size_t bytes_max);
    core::Awaitable<Next> refuse_request(RequestHead const& head, std::size_t head_size,
                                         std::unique_ptr<Response> response);
    core::Awaitable<bool> decompress(Request& request, std::string_view encoding);
    void take_rest(Request& request, std::size_t head_size);
    void keep_rest();
    core::Awaitable<std::string_view> receive();
    core::Awaitable<std::size_t> receive(std::span<char> into);
    core::Awaitable<void> handle(Request& request);
    core::Awaitable<bool> drain_output(std::size_t below);
    core::Awaitable<void> close();

    void send_continue();
    void respond_unhandled();
    void refuse(int status, std::string_view reason);
    void send(std::array<std::string_view, 3> pieces);
    void send_piece(std::string_view bytes);
    void append_head(std::string& out, Response const& response, std::optional<std::size_t> length);
    void on_news(Poller::News news) override;
    void on_readable();
    void on_client_eof();
    void flush_output();
    void lost() noexcept;
    void reset() noexcept; // lost, and the kernel forgets what the client has not taken
    void on_timer() noexcept;
    void on_heartbeat() noexcept;
    void set_timer(Phase phase, std::chrono::milliseconds delay);

    Loop& loop_;
    HttpHandler& handler_;
    ServerLimits const& limits_;
    std::unique_ptr<Stream> stream_;
    std::string peer_;
    bool const tls_;

    std::string in_;             // received, not yet consumed
    std::string_view rest_;      // what follows in_, still in the loop's scratch; empty across every co_await
    std::size_t head_bytes_ = 0; // of the request at the front of in_
    std::string out_;            // to be sent, behind what the kernel has taken
    std::size_t out_sent_ = 0;
    Signal readable_;
    Signal drained_;

    struct TimerAction {
        Connection* self;
        void operator()() const noexcept { self->on_timer(); }
    };
    struct HeartbeatAction {
        Connection* self;
        void operator()() const noexcept { self->on_heartbeat(); }
    };
    struct StallAction {
        Connection* self;
        void operator()() const noexcept { self->reset(); }
    };
    OnDeadline<TimerAction> timer_;
    OnDeadline<HeartbeatAction> heartbeat_;
    OnDeadline<StallAction> stall_;

    std::unique_ptr<core::Cancellation> cancellation_;
    std::string_view heartbeat_bytes_;
    Phase phase_ = Phase::kIdle;
    Answer answer_ = Answer::kNone;
    bool eof_ = false;  // the client will send no more
    bool lost_ = false; // the connection is unusable
    bool client_gone_ = false;
    bool timed_out_ = false;
    bool draining_ = false;
    bool served_ = false;    // at least one request
    bool keep_alive_ = true; // of the current request
    bool http_1_0_ = false;
    bool head_request_ = false;
};

} // namespace parley::net

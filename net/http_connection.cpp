#include "net/http_connection.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <exception>
#include <utility>

namespace parley::net {
namespace {

constexpr std::size_t kServedAtOnce = 16; // requests of one connection, before others have their turn

} // namespace
Connection::Connection(Loop& loop, HttpHandler& handler, ServerLimits const& limits, std::unique_ptr<Stream> stream,
                       std::string peer, bool tls)
    : loop_(loop),
      handler_(handler),
      limits_(limits),
      stream_(std::move(stream)),
      peer_(std::move(peer)),
      tls_(tls),
      readable_(loop.executor()),
      drained_(loop.executor()),
      timer_(loop, TimerAction{this}),
      heartbeat_(loop, HeartbeatAction{this}),
      stall_(loop, StallAction{this}) {
    stream_->observe(*this);
}

core::Awaitable<void> Connection::run() {
    auto const self = shared_from_this(); // the coroutine is the owner
    set_timer(Phase::kHead, limits_.head_timeout);
    auto const shaken = co_await stream_->handshake();
    if (!shaken) {
        loop_.log().debug("tls_handshake_failed").add("peer", peer_).add("reason", shaken.error().detail);
        lost();
        co_return;
    }
    auto next = Next::kAgain;
    for (std::size_t served = 1; next == Next::kAgain; ++served) {
        next = co_await serve_one();
        // One that always has a further request need never wait for anything.
        if (served % kServedAtOnce == 0) co_await boost::asio::post(loop_.executor(), use_awaitable);
    }
    co_await close();
}

core::Awaitable<Connection::Next> Connection::serve_one() {
    answer_ = Answer::kNone;
    head_request_ = http_1_0_ = false;
    Request request;
    auto const& head = request.head;
    auto const read = co_await read_head(request.head);
    if (!read) co_return Next::kClose;

    request.started = std::chrono::steady_clock::now();
    request.peer = peer_;
    auto const head_size = head_bytes_;
    http_1_0_ = head.http_1_0;
    head_request_ = head.method == "HEAD";
    keep_alive_ = head.keep_alive && !draining_;

    if (auto refusal = admit(request)) co_return co_await refuse_request(head, head_size, std::move(refusal));

    request.head_bytes = std::move(in_); // a long string: its bytes, and the views into them, stay where they are
    take_rest(request, head_size);
    if (head.expects_continue && in_.empty() && request.body.empty() && head.body != BodyKind::kNone) send_continue();
    if (!has_whole_body(request)) { // most often it came with the head
        auto const whole = co_await read_body(request);
        if (!whole) co_return Next::kClose;
    }
    auto const encoding = head.get("content-encoding");
    if (!encoding.empty() && !field_is(encoding, "identity")) {
        auto const sound = co_await decompress(request, encoding);
        if (!sound) co_return Next::kClose;
    }

    co_await handle(request);
    served_ = true;
    if (lost_) co_return Next::kClose;
    if (answer_ == Answer::kStream) co_return Next::kClose; // never finished: a cut, which the client must see as one
    if (out_.size() - out_sent_ > limits_.unsent_bytes_max) co_await drain_output(limits_.unsent_bytes_max);
    co_return keep_alive_ && !lost_ ? Next::kAgain : Next::kClose;
}

std::size_t Connection::body_bytes_max(Request const& request) const noexcept {
    return request.ticket.body_bytes_max != 0 ? request.ticket.body_bytes_max : limits_.body_bytes_max;
}

// The answer to one that is not let in. Behind a pointer: serve_one() lives as long as the request.
std::unique_ptr<Response> Connection::admit(Request& request) {
    auto const& head = request.head;
    auto refusal = handler_.admit(head, request.ticket);
    if (!refusal && head.body == BodyKind::kLength && head.content_length > body_bytes_max(request))
        refusal = handler_.refuse(413, "The request body is too large.");
    return refusal ? std::make_unique<Response>(std::move(*refusal)) : nullptr;
}

void Connection::send_continue() {
    send({"HTTP/1.1 100 Continue\r\n\r\n"});
}

// A small body that is on its way is read and dropped, so that the connection can serve on; otherwise it is closed.
core::Awaitable<Connection::Next> Connection::refuse_request(RequestHead const& head, std::size_t head_size,
                                                             std::unique_ptr<Response> response) {
    auto const small =
        head.body == BodyKind::kNone ||
        (head.body == BodyKind::kLength && head.content_length <= limits_.drained_bytes_max && !head.expects_continue);
    auto left = head.body == BodyKind::kLength ? static_cast<std::size_t>(head.content_length) : 0;
    if (!small) response->close = true;
    keep_rest();
    in_.erase(0, head_size); // head's views end here
    respond(std::move(*response));
    set_timer(Phase::kBody, limits_.body_timeout);
    auto const here = std::min(left, in_.size());
    in_.erase(0, here);
    left -= here;
    while (keep_alive_ && left > 0) {
        auto const scratch = loop_.scratch();
        auto const got = co_await receive(scratch.first(std::min(left, scratch.size())));
        if (got == 0) co_return Next::kClose;
        left -= got;
    }
    if (out_.size() - out_sent_ > limits_.unsent_bytes_max) co_await drain_output(limits_.unsent_bytes_max);
    co_return keep_alive_ && !lost_ ? Next::kAgain : Next::kClose;
}

core::Awaitable<void> Connection::handle(Request& request) {
    phase_ = Phase::kHandling;
    timer_.never();
    cancellation_ = std::make_unique<core::Cancellation>();
    // From here on a readable socket means: more requests, or the client leaves.
    if (stream_->maybe_readable() || stream_->has_buffered()) on_readable();
    std::string failure;
    try {
        co_await handler_.handle(request, *this);
    } catch (std::exception const& e) {
        failure = e.what();
    }
    if (!failure.empty()) loop_.log().error("handler_threw").add("what", failure);
    if (answer_ == Answer::kNone && !lost_) respond_unhandled();
    heartbeat_.never();
    cancellation_.reset();
}

void Connection::respond_unhandled() {
    respond(handler_.refuse(500, "Parley failed to answer this request. This is a bug; the log has more."));
}

void Connection::lost() noexcept {
    if (lost_) return;
    lost_ = true;
    client_gone_ = true;
    keep_alive_ = false;
    timer_.never();
    heartbeat_.never();
    stall_.never();
    stream_->abort();
    if (cancellation_) cancellation_->cancel();
    readable_.set();
    drained_.set();
}

void Connection::reset() noexcept {
    if (!lost_) stream_->reset();
    lost();
}

void Connection::refuse(int status, std::string_view reason) {
    keep_alive_ = false;
    auto response = handler_.refuse(status, reason);
    response.close = true;
    respond(std::move(response));
}

void Connection::set_timer(Phase phase, std::chrono::milliseconds delay) {
    phase_ = phase;
    timer_.after(delay);
}

void Connection::on_timer() noexcept {
    timed_out_ = true;
    if (phase_ == Phase::kClosing) return lost();
    if (!stream_->is_open()) return;
    readable_.set();
    if (phase_ == Phase::kHead && in_.empty()) lost(); // also ends a handshake that stands still
}

void Connection::drain() noexcept {
    draining_ = true;
    keep_alive_ = false;
    if (phase_ != Phase::kIdle || !in_.empty()) return;
    if (!served_) {
        timer_.after(kFirstRequestGrace); // it may be on the wire
    } else if (out_sent_ < out_.size()) { // the end of the last answer: no more is read, and close() waits for it
        timed_out_ = true;
        readable_.set();
    } else {
        lost(); // nothing is under way in either direction
    }
}

void Connection::cut() noexcept {
    if (!cancellation_) return lost(); // a request that still comes, or an answer that nobody takes
    cancellation_->cancel();
}

void Connection::abort() noexcept {
    lost();
}

// Lingering close (RFC 9112 §9.6): the last answer must not be destroyed by a reset for bytes that we did not read.
core::Awaitable<void> Connection::close() {
    if (lost_) co_return;
    if (answer_ == Answer::kStream) { // cut on purpose
        stream_->reset();
        lost();
        co_return;
    }
    co_await drain_output(0);
    if (lost_) co_return;
    if (answer_ == Answer::kNone) { // idle: there is no last answer to protect
        stream_->shutdown_send();
        lost();
        co_return;
    }
    set_timer(Phase::kClosing, limits_.linger_timeout);
    timed_out_ = false;
    stream_->shutdown_send();
    std::size_t dropped = in_.size();
    in_ = {};
    while (dropped <= limits_.drained_bytes_max) {
        auto const bytes = co_await receive();
        if (bytes.empty()) break;
        dropped += bytes.size();
    }
    lost();
}

} // namespace parley::net

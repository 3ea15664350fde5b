#include "net/http_connection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <exception>
#include <iterator>

#include "net/inflate.hpp"

namespace parley::net {
namespace {

constexpr std::size_t kBodyPadding = 64; // simdjson reads that far behind the end

// RFC 9110 §5.6.7; formatted once a second.
std::string_view http_date() {
    thread_local std::time_t last = 0;
    thread_local std::string text;
    auto const now = std::time(nullptr);
    if (now != last) {
        std::tm utc{};
        gmtime_r(&now, &utc);
        char buffer[40];
        auto const n = std::strftime(buffer, sizeof buffer, "%a, %d %b %Y %H:%M:%S GMT", &utc);
        text.assign(buffer, n);
        last = now;
    }
    return text;
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
    out.append(name).append(": ");
    for (auto const c : value) {
        if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) out.push_back(c); // no CR, no LF, ever
    }
    out.append("\r\n");
}

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
      stall_(loop, StallAction{this}) {}

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
    while (next == Next::kAgain)
        next = co_await serve_one();
    co_await close();
}

core::Awaitable<Connection::Next> Connection::serve_one() {
    answer_ = Answer::kNone;
    RequestHead head;
    auto const read = co_await read_head(head);
    if (!read) co_return Next::kClose;

    auto const started = std::chrono::steady_clock::now();
    auto const head_size = head_bytes_;
    http_1_0_ = head.http_1_0;
    head_request_ = head.method == "HEAD";
    keep_alive_ = head.keep_alive && !draining_;

    Request request;
    auto refusal = handler_.admit(head, request.ticket);
    auto const bytes_max = request.ticket.body_bytes_max ? request.ticket.body_bytes_max : limits_.body_bytes_max;
    if (!refusal && head.body == BodyKind::kLength && head.content_length > bytes_max) {
        refusal = handler_.refuse(413, "The request body is too large.");
    }
    if (refusal) co_return co_await refuse_request(head, head_size, std::move(*refusal));

    request.head = std::move(head);
    request.started = started;
    request.peer = peer_;
    request.head_bytes = std::move(in_); // a long string: its bytes, and the views into them, stay where they are
    in_.clear();
    if (request.head_bytes.size() > head_size) in_.assign(request.head_bytes, head_size);
    if (request.head.expects_continue && in_.empty() && request.head.body != BodyKind::kNone) {
        send("HTTP/1.1 100 Continue\r\n\r\n", {});
    }
    auto const whole = co_await read_body(request);
    if (!whole) co_return Next::kClose;
    auto const sound = decompress(request, bytes_max);
    if (!sound) co_return Next::kClose;

    co_await handle(std::move(request));
    if (lost_) co_return Next::kClose;
    if (answer_ == Answer::kStream) co_return Next::kClose; // never finished: a cut, which the client must see as one
    auto const sent = co_await drain_output(limits_.unsent_bytes_max);
    co_return sent&& keep_alive_ ? Next::kAgain : Next::kClose;
}

core::Awaitable<bool> Connection::read_head(RequestHead& head) {
    set_timer(in_.empty() ? Phase::kIdle : Phase::kHead, in_.empty() ? limits_.idle_timeout : limits_.head_timeout);
    for (;;) {
        if (!in_.empty()) {
            auto const parsed = parse_request_head(in_, limits_.head, head);
            if (parsed.status == HeadStatus::kDone) {
                head_bytes_ = parsed.bytes;
                co_return true;
            }
            if (parsed.status == HeadStatus::kBad) {
                refuse(parsed.http_status, parsed.reason);
                co_return false;
            }
        }
        auto const had = in_.size();
        if (draining_ && in_.empty()) co_return false;
        auto const more = co_await fill();
        if (!more) {
            if (timed_out_ && !in_.empty()) refuse(408, "The request header did not arrive in time.");
            co_return false;
        }
        if (had == 0) set_timer(Phase::kHead, limits_.head_timeout);
    }
}

core::Awaitable<bool> Connection::read_body(Request& request) {
    auto const bytes_max = request.ticket.body_bytes_max ? request.ticket.body_bytes_max : limits_.body_bytes_max;
    if (request.head.body == BodyKind::kNone) co_return true;
    set_timer(Phase::kBody, limits_.body_timeout);
    auto whole = false;
    if (request.head.body == BodyKind::kLength) {
        whole = co_await read_length(request);
    } else {
        whole = co_await read_chunked(request, bytes_max);
    }
    if (!whole && timed_out_) refuse(408, "The request body did not arrive in time.");
    co_return whole;
}

core::Awaitable<bool> Connection::read_length(Request& request) {
    auto const length = static_cast<std::size_t>(request.head.content_length);
    auto& body = request.body;
    body.reserve(std::min<std::size_t>(length, 256 * 1024) + kBodyPadding); // a claim alone does not buy memory
    for (;;) {
        auto const n = std::min(length - body.size(), in_.size());
        body.append(in_, 0, n);
        in_.erase(0, n);
        if (body.size() == length) break;
        auto const more = co_await fill();
        if (!more) co_return false;
        timer_.at(request.started + limits_.body_timeout +
                  std::chrono::milliseconds(body.size() * 1000 / limits_.body_bytes_per_second_min));
    }
    body.reserve(length + kBodyPadding);
    co_return true;
}

core::Awaitable<bool> Connection::read_chunked(Request& request, std::size_t bytes_max) {
    ChunkedReader reader;
    auto& body = request.body;
    for (;;) {
        std::string_view rest = in_;
        std::string_view data;
        auto status = reader.next(rest, data);
        while (status == ChunkedReader::Status::kData) {
            if (body.size() + data.size() > bytes_max) {
                refuse(413, "The request body is too large.");
                co_return false;
            }
            body.append(data);
            status = reader.next(rest, data);
        }
        in_.erase(0, in_.size() - rest.size());
        if (status == ChunkedReader::Status::kDone) break;
        if (status == ChunkedReader::Status::kBad) {
            refuse(400, "The chunked request body is malformed.");
            co_return false;
        }
        auto const more = co_await fill();
        if (!more) co_return false;
        timer_.at(request.started + limits_.body_timeout +
                  std::chrono::milliseconds(body.size() * 1000 / limits_.body_bytes_per_second_min));
    }
    body.reserve(body.size() + kBodyPadding);
    co_return true;
}

bool Connection::decompress(Request& request, std::size_t bytes_max) {
    auto const encoding = request.head.get("content-encoding");
    if (encoding.empty() || field_is(encoding, "identity")) return true;
    if (!field_is(encoding, "gzip")) {
        refuse(415, "Content-Encoding is neither gzip nor identity.");
        return false;
    }
    auto plain = gunzip(request.body, bytes_max);
    if (!plain) {
        refuse(plain.error().code == core::Errc::kPayloadTooLarge ? 413 : 400, plain.error().message);
        return false;
    }
    request.body = std::move(*plain);
    request.body.reserve(request.body.size() + kBodyPadding);
    return true;
}

// A small body that is on its way is read and dropped, so that the connection can serve on; otherwise it is closed.
core::Awaitable<Connection::Next> Connection::refuse_request(RequestHead const& head, std::size_t head_size,
                                                             Response response) {
    auto const small =
        head.body == BodyKind::kNone ||
        (head.body == BodyKind::kLength && head.content_length <= limits_.drained_bytes_max && !head.expects_continue);
    auto left = head.body == BodyKind::kLength ? static_cast<std::size_t>(head.content_length) : 0;
    if (!small) response.close = true;
    respond(std::move(response));
    in_.erase(0, head_size); // head's views end here
    set_timer(Phase::kBody, limits_.body_timeout);
    while (keep_alive_ && left > 0) {
        auto const n = std::min(left, in_.size());
        in_.erase(0, n);
        left -= n;
        if (left == 0) break;
        auto const more = co_await fill();
        if (!more) co_return Next::kClose;
    }
    co_return keep_alive_ ? Next::kAgain : Next::kClose;
}

core::Awaitable<bool> Connection::fill() {
    for (;;) {
        if (lost_ || eof_ || timed_out_) co_return false;
        if (maybe_readable_ || stream_->has_buffered()) {
            auto const got = stream_->try_read(loop_.scratch());
            if (got.status == IoStatus::kOk) {
                maybe_readable_ = got.bytes == loop_.scratch().size() || tls_;
                in_.append(loop_.scratch().data(), got.bytes);
                co_return true;
            }
            if (got.status == IoStatus::kEof) {
                eof_ = true;
                co_return false;
            }
            if (got.status == IoStatus::kError) {
                lost();
                co_return false;
            }
            maybe_readable_ = false;
        }
        arm_read();
        co_await readable_.wait();
    }
}

core::Awaitable<void> Connection::handle(Request request) {
    phase_ = Phase::kHandling;
    timer_.never();
    cancellation_ = std::make_unique<core::Cancellation>();
    arm_read(); // from here on a readable socket means: more requests, or the client leaves
    std::string failure;
    try {
        co_await handler_.handle(std::move(request), *this);
    } catch (std::exception const& e) {
        failure = e.what();
    }
    if (!failure.empty()) loop_.log().error("handler_threw").add("what", failure);
    if (answer_ == Answer::kNone && !lost_) {
        respond(handler_.refuse(500, "Parley failed to answer this request. This is a bug; the log has more."));
    }
    heartbeat_.never();
    cancellation_.reset();
}

void Connection::arm_read() {
    if (read_armed_ || lost_ || eof_) return;
    read_armed_ = true;
    auto on_ready = [self = shared_from_this()](boost::system::error_code error) {
        self->read_armed_ = false;
        if (error || self->lost_) {
            self->readable_.set();
            return;
        }
        self->maybe_readable_ = true;
        if (self->phase_ == Phase::kHandling) {
            self->on_readable();
        } else {
            self->readable_.set();
        }
    };
    stream_->socket().async_wait(TcpSocket::wait_read, std::move(on_ready));
}

// While a request is being answered: read ahead a little, and learn of the client's end.
void Connection::on_readable() {
    while (in_.size() < limits_.pipelined_bytes_max) {
        auto const got = stream_->try_read(loop_.scratch());
        if (got.status == IoStatus::kOk) {
            in_.append(loop_.scratch().data(), got.bytes);
            continue;
        }
        if (got.status == IoStatus::kEof) return on_client_eof();
        if (got.status == IoStatus::kError) return lost();
        maybe_readable_ = false;
        return arm_read();
    }
    watch_errors(); // enough read ahead; only a reset is of interest now
}

// The client will send no more. It may still be reading (curl, nc: half-close) or be gone: writing something harmless
// tells, because a socket that is gone answers with a reset.
void Connection::on_client_eof() {
    eof_ = true;
    keep_alive_ = false;
    if (tls_) { // close_notify: nobody half-closes TLS
        client_gone_ = true;
        if (cancellation_) cancellation_->cancel();
        return;
    }
    watch_errors();
    if (answer_ == Answer::kStream) {
        on_heartbeat();
    } else if (answer_ == Answer::kNone && !http_1_0_) {
        send("HTTP/1.1 100 Continue\r\n\r\n", {});
    }
}

void Connection::watch_errors() {
    auto on_error = [self = shared_from_this()](boost::system::error_code error) {
        if (!error) self->lost();
    };
    stream_->socket().async_wait(TcpSocket::wait_error, std::move(on_error));
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

void Connection::respond(Response response) {
    if (lost_ || answer_ != Answer::kNone) return;
    answer_ = Answer::kWhole;
    if (response.close) keep_alive_ = false;
    std::string head;
    head.reserve(512);
    auto const bodiless = response.status == 204 || response.status == 304;
    append_head(head, response, bodiless ? std::nullopt : std::optional(response.body.size()));
    send(head, head_request_ || bodiless ? std::string_view{} : std::string_view(response.body));
}

void Connection::start_stream(Response head, std::string_view heartbeat) {
    if (lost_ || answer_ != Answer::kNone) return;
    answer_ = Answer::kStream;
    heartbeat_bytes_ = heartbeat;
    if (http_1_0_) keep_alive_ = false; // its end is the end of the connection
    std::string bytes;
    bytes.reserve(512);
    append_head(bytes, head, std::nullopt);
    send(bytes, {});
    heartbeat_.after(limits_.heartbeat);
}

core::Awaitable<bool> Connection::write(std::string_view bytes) {
    if (lost_ || answer_ != Answer::kStream) co_return false;
    if (bytes.empty()) co_return true;
    if (http_1_0_) {
        send(bytes, {});
    } else {
        std::string frame;
        frame.reserve(bytes.size() + 16);
        fmt::format_to(std::back_inserter(frame), "{:x}\r\n", bytes.size());
        frame.append(bytes).append("\r\n");
        send(frame, {});
    }
    heartbeat_.after(limits_.heartbeat);
    if (out_.size() - out_sent_ <= limits_.unsent_bytes_max) co_return !lost_;
    co_return co_await drain_output(limits_.unsent_bytes_max);
}

void Connection::finish() {
    if (answer_ != Answer::kStream) return;
    answer_ = Answer::kStreamEnded;
    heartbeat_.never();
    if (!http_1_0_) send("0\r\n\r\n", {});
}

void Connection::append_head(std::string& out, Response const& response, std::optional<std::size_t> length) {
    fmt::format_to(std::back_inserter(out), "HTTP/1.1 {} {}\r\ndate: {}\r\n", response.status,
                   status_text(response.status), http_date());
    if (!response.content_type.empty() && response.status != 204)
        append_field(out, "content-type", response.content_type);
    for (auto const& [name, value] : response.headers)
        append_field(out, name, value);
    if (length) {
        fmt::format_to(std::back_inserter(out), "content-length: {}\r\n", *length);
    } else if (answer_ == Answer::kStream && !http_1_0_) {
        out += "transfer-encoding: chunked\r\n";
    }
    if (!keep_alive_) {
        out += "connection: close\r\n";
    } else if (http_1_0_) {
        out += "connection: keep-alive\r\n";
    }
    out += "\r\n";
}

// Tries the socket at once; what it does not take waits in out_.
void Connection::send(std::string_view head, std::string_view body) {
    if (lost_) return;
    if (out_.size() == out_sent_) {
        auto const wrote = stream_->try_write(head, body);
        if (wrote.status == IoStatus::kError) return lost();
        auto const from_head = std::min(wrote.bytes, head.size());
        head.remove_prefix(from_head);
        body.remove_prefix(wrote.bytes - from_head);
    }
    if (head.empty() && body.empty()) return;
    out_.append(head).append(body);
    arm_write();
}

void Connection::arm_write() {
    if (write_armed_ || lost_) return;
    write_armed_ = true;
    stall_.after(limits_.stall_timeout);
    auto on_ready = [self = shared_from_this()](boost::system::error_code error) {
        self->write_armed_ = false;
        if (!error && !self->lost_) self->flush_output();
    };
    stream_->socket().async_wait(TcpSocket::wait_write, std::move(on_ready));
}

void Connection::flush_output() {
    while (out_sent_ < out_.size()) {
        auto const wrote = stream_->try_write(std::string_view(out_).substr(out_sent_));
        if (wrote.status == IoStatus::kError) return lost();
        if (wrote.status != IoStatus::kOk) {
            arm_write();
            break;
        }
        out_sent_ += wrote.bytes;
        stall_.after(limits_.stall_timeout);
    }
    if (out_sent_ == out_.size()) {
        out_ = {}; // a stream at rest holds no memory
        out_sent_ = 0;
        stall_.never();
    } else if (out_sent_ > limits_.unsent_bytes_max) {
        out_.erase(0, std::exchange(out_sent_, 0));
    }
    drained_.set();
}

core::Awaitable<bool> Connection::drain_output(std::size_t below) {
    while (!lost_ && out_.size() - out_sent_ > below)
        co_await drained_.wait();
    drained_.reset();
    co_return !lost_;
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

void Connection::on_heartbeat() noexcept {
    if (answer_ != Answer::kStream || lost_) return;
    if (out_.size() == out_sent_ && !heartbeat_bytes_.empty()) {
        if (http_1_0_) {
            send(heartbeat_bytes_, {});
        } else {
            send(fmt::format("{:x}\r\n{}\r\n", heartbeat_bytes_.size(), heartbeat_bytes_), {});
        }
    }
    heartbeat_.after(limits_.heartbeat);
}

void Connection::drain() noexcept {
    draining_ = true;
    keep_alive_ = false;
    if (phase_ == Phase::kIdle && in_.empty()) {
        timed_out_ = true;
        readable_.set();
    }
}

void Connection::cut() noexcept {
    if (cancellation_) cancellation_->cancel();
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
    set_timer(Phase::kClosing, limits_.linger_timeout);
    timed_out_ = false;
    stream_->shutdown_send();
    std::size_t dropped = in_.size();
    in_ = {};
    while (dropped <= limits_.drained_bytes_max) {
        auto const more = co_await fill();
        if (!more) break;
        dropped += in_.size();
        in_.clear();
    }
    lost();
}

} // namespace parley::net

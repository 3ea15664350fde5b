// What comes in on a client connection: heads, bodies, and the news that the client is leaving.
#include <boost/asio/post.hpp>

#include <algorithm>
#include <span>
#include <utility>

#include "core/text_pool.hpp"
#include "net/http_chunked.hpp"
#include "net/http_connection.hpp"
#include "net/inflate.hpp"

namespace parley::net {
namespace {

constexpr std::string_view kHeadEnd = "\r\n\r\n";
constexpr std::size_t kHeadReadBytes = 16 * 1024;    // then a long body goes where it belongs without being copied
constexpr std::size_t kBodyPadding = 64;             // simdjson reads that far behind the end
constexpr std::size_t kClaimedBytesMax = 256 * 1024; // a Content-Length alone does not buy more memory
constexpr std::size_t kBodyGrowth = 4;               // what has come buys as much more
constexpr std::size_t kReadAtOnce = 512 * 1024;      // of one body, before others have their turn

} // namespace

core::Awaitable<bool> Connection::read_head(RequestHead& head) {
    auto const is_late = draining_ && !served_; // a TLS handshake that ended after the drain had begun
    if (in_.empty()) {
        set_timer(Phase::kIdle, is_late ? kFirstRequestGrace : limits_.idle_timeout);
    } else {
        set_timer(Phase::kHead, limits_.head_timeout);
    }
    for (;;) {
        if (!in_.empty()) {
            auto const parsed = parse_request_head(in_, limits_.head, head);
            if (parsed.status == HeadStatus::kDone) {
                head_bytes_ = parsed.bytes;
                co_return true;
            }
            keep_rest();
            if (parsed.status == HeadStatus::kBad) {
                refuse(parsed.http_status, parsed.reason);
                co_return false;
            }
        }
        if (draining_ && in_.empty() && served_) co_return false;
        auto const scratch = loop_.scratch().first(kHeadReadBytes);
        auto const got = co_await receive(scratch);
        std::string_view const bytes(scratch.data(), got);
        if (bytes.empty()) {
            if (timed_out_ && !in_.empty()) refuse(408, "The request header did not arrive in time.");
            co_return false;
        }
        if (in_.empty()) set_timer(Phase::kHead, limits_.head_timeout);
        // Usually the head has come in one piece: what is behind it is copied once, to where it belongs.
        auto const end = in_.empty() ? bytes.find(kHeadEnd) : bytes.npos;
        auto const head_part = end == bytes.npos ? bytes : bytes.substr(0, end + kHeadEnd.size());
        in_.append(head_part);
        rest_ = bytes.substr(head_part.size());
    }
}

bool Connection::has_whole_body(Request const& request) noexcept {
    if (request.head.body == BodyKind::kNone) return true;
    return request.head.body == BodyKind::kLength && request.body.size() == request.head.content_length;
}

core::Awaitable<bool> Connection::read_body(Request& request) {
    auto const bytes_max = body_bytes_max(request);
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

// What came behind the head: the start of a body goes where it belongs, what follows waits in in_.
void Connection::take_rest(Request& request, std::size_t head_size) {
    in_.clear();
    std::size_t body_left = 0;
    if (request.head.body == BodyKind::kLength) {
        body_left = static_cast<std::size_t>(request.head.content_length);
        request.body = core::pooled_text(std::min(body_left, kClaimedBytesMax) + kBodyPadding);
    }
    for (auto rest : {std::string_view(request.head_bytes).substr(head_size), std::exchange(rest_, {})}) {
        auto const part = rest.substr(0, body_left);
        request.body.append(part);
        body_left -= part.size();
        in_.append(rest.substr(part.size()));
    }
}

// For the cases in which somebody will wait before the bytes behind the head are used.
void Connection::keep_rest() {
    in_.append(std::exchange(rest_, {}));
}

core::Awaitable<bool> Connection::read_length(Request& request) {
    auto const length = static_cast<std::size_t>(request.head.content_length);
    auto& body = request.body;
    auto filled = body.size();
    auto pause_at = filled + kReadAtOnce;
    while (filled < length) {
        if (filled >= pause_at) {
            pause_at = filled + kReadAtOnce;
            co_await boost::asio::post(loop_.executor(), use_awaitable);
        }
        // A little more than the body: so it shows when the socket is empty.
        if (filled + kBodyPadding > body.size())
            body.resize(std::min(length, std::max(kClaimedBytesMax, kBodyGrowth * filled)) + kBodyPadding);
        auto const got = co_await receive(std::span(body).subspan(filled));
        if (got == 0) co_return false;
        filled += got;
        timer_.at(request.started + limits_.body_timeout +
                  std::chrono::milliseconds(filled * 1000 / limits_.body_bytes_per_second_min));
    }
    in_.append(body, length, filled - length);
    body.resize(length);
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
        auto const bytes = co_await receive();
        if (bytes.empty()) co_return false;
        in_.append(bytes);
        timer_.at(request.started + limits_.body_timeout +
                  std::chrono::milliseconds(body.size() * 1000 / limits_.body_bytes_per_second_min));
    }
    body.reserve(body.size() + kBodyPadding);
    co_return true;
}

core::Awaitable<bool> Connection::decompress(Request& request, std::string_view encoding) {
    if (!field_is(encoding, "gzip")) {
        refuse(415, "Content-Encoding is neither gzip nor identity.");
        co_return false;
    }
    Gunzip packed(request.body, body_bytes_max(request));
    for (;;) {
        auto const done = packed.step();
        if (!done) {
            refuse(done.error().code == core::Errc::kPayloadTooLarge ? 413 : 400, done.error().message);
            co_return false;
        }
        if (*done) break;
        co_await boost::asio::post(loop_.executor(), use_awaitable); // others have their turn
        if (lost_) co_return false;
    }
    request.body = packed.take();
    request.body.reserve(request.body.size() + kBodyPadding);
    co_return true;
}

// As below, into the loop's scratch: they have to be taken before the next co_await.
core::Awaitable<std::string_view> Connection::receive() {
    auto const scratch = loop_.scratch();
    auto const got = co_await receive(scratch);
    co_return std::string_view(scratch.data(), got);
}

// Waits for the next bytes; none = there will not be any more, or not in time.
core::Awaitable<std::size_t> Connection::receive(std::span<char> into) {
    for (;;) {
        if (lost_ || eof_ || timed_out_) co_return 0;
        if (stream_->maybe_readable() || stream_->has_buffered()) {
            auto const got = stream_->try_read(into);
            if (got.status == IoStatus::kOk) co_return got.bytes;
            if (got.status == IoStatus::kEof) {
                eof_ = true;
                co_return 0;
            }
            if (got.status == IoStatus::kError) {
                lost();
                co_return 0;
            }
        }
        co_await readable_.wait();
    }
}

void Connection::on_news(Poller::News news) {
    auto const self = shared_from_this(); // what follows may end the coroutine
    if (out_sent_ < out_.size()) flush_output();
    if (lost_ || !news.readable) return;
    if (phase_ == Phase::kHandling) {
        on_readable();
    } else {
        readable_.wake();
    }
}

// While a request is being answered: read ahead a little, and learn of the client's end.
void Connection::on_readable() {
    while (!eof_ && in_.size() < limits_.pipelined_bytes_max) {
        auto const got = stream_->try_read(loop_.scratch());
        if (got.status == IoStatus::kOk) {
            in_.append(loop_.scratch().data(), got.bytes);
            continue;
        }
        if (got.status == IoStatus::kEof) return on_client_eof();
        if (got.status == IoStatus::kError) return lost();
        return;
    }
    if (stream_->failed()) lost(); // enough read ahead, or all there is: only a reset is of interest now
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
    if (answer_ == Answer::kStream) {
        on_heartbeat();
    } else if (answer_ == Answer::kNone && !http_1_0_) {
        send({"HTTP/1.1 100 Continue\r\n\r\n"});
    }
}

} // namespace parley::net

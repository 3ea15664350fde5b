// What goes out on a client connection: heads, bodies, chunks; at once where the socket takes it.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <ctime>
#include <iterator>
#include <utility>

#include "core/append.hpp"
#include "net/http_chars.hpp"
#include "net/http_connection.hpp"

namespace parley::net {
namespace {

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
    if (http_chars::all_value(value)) {
        out.append(value);
    } else { // no CR, no LF, ever
        std::ranges::copy_if(value, std::back_inserter(out),
                             [](char c) { return http_chars::is(c, http_chars::kValue); });
    }
    out.append("\r\n");
}

} // namespace

void Connection::respond(Response response) {
    if (lost_ || answer_ != Answer::kNone) return;
    answer_ = Answer::kWhole;
    if (response.close) keep_alive_ = false;
    std::string head;
    head.reserve(512);
    auto const bodiless = response.status == 204 || response.status == 304;
    append_head(head, response, bodiless ? std::nullopt : std::optional(response.body.size()));
    send({head, head_request_ || bodiless ? std::string_view{} : std::string_view(response.body)});
}

void Connection::start_stream(Response head, std::string_view heartbeat) {
    if (lost_ || answer_ != Answer::kNone) return;
    answer_ = Answer::kStream;
    heartbeat_bytes_ = heartbeat;
    if (http_1_0_) keep_alive_ = false; // its end is the end of the connection
    std::string bytes;
    bytes.reserve(512);
    append_head(bytes, head, std::nullopt);
    send({bytes});
    heartbeat_.after(limits_.heartbeat);
}

core::Awaitable<bool> Connection::write(std::string_view bytes) {
    if (lost_ || answer_ != Answer::kStream) co_return false;
    if (bytes.empty()) co_return true;
    send_piece(bytes);
    heartbeat_.after(limits_.heartbeat);
    if (out_.size() - out_sent_ <= limits_.unsent_bytes_max) co_return !lost_;
    co_return co_await drain_output(limits_.unsent_bytes_max);
}

// A piece of a stream, in the framing that the client's version knows.
void Connection::send_piece(std::string_view bytes) {
    if (http_1_0_) return send({bytes});
    char size[18];
    auto* const end = std::to_chars(size, size + 16, bytes.size(), 16).ptr;
    end[0] = '\r';
    end[1] = '\n';
    send({std::string_view(size, static_cast<std::size_t>(end + 2 - size)), bytes, "\r\n"});
}

void Connection::on_heartbeat() noexcept {
    if (answer_ != Answer::kStream || lost_) return;
    if (out_.size() == out_sent_ && !heartbeat_bytes_.empty()) send_piece(heartbeat_bytes_);
    heartbeat_.after(limits_.heartbeat);
}

void Connection::finish() {
    if (answer_ != Answer::kStream) return;
    answer_ = Answer::kStreamEnded;
    heartbeat_.never();
    if (!http_1_0_) send({"0\r\n\r\n"});
}

void Connection::append_head(std::string& out, Response const& response, std::optional<std::size_t> length) {
    core::append(out, "HTTP/1.1 ", response.status, ' ', status_text(response.status), "\r\ndate: ", http_date(),
                 "\r\n");
    if (!response.content_type.empty() && response.status != 204)
        append_field(out, "content-type", response.content_type);
    for (auto const& [name, value] : response.headers)
        append_field(out, name, value);
    if (length) {
        core::append(out, "content-length: ", *length, "\r\n");
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
void Connection::send(std::array<std::string_view, 3> pieces) {
    if (lost_) return;
    auto status = IoStatus::kWouldBlockWrite;
    if (out_.size() == out_sent_) status = write_some(*stream_, pieces);
    if (status == IoStatus::kOk) return;
    if (status == IoStatus::kError) return lost();
    if (out_.size() == out_sent_) stall_.after(limits_.stall_timeout);
    for (auto const& piece : pieces)
        out_.append(piece);
}

void Connection::flush_output() {
    while (out_sent_ < out_.size()) {
        auto const wrote = stream_->try_write(std::string_view(out_).substr(out_sent_));
        if (wrote.status == IoStatus::kError) return lost();
        if (wrote.status != IoStatus::kOk) break;
        out_sent_ += wrote.bytes;
        stall_.after(limits_.stall_timeout);
    }
    if (out_sent_ == out_.size()) {
        out_ = {}; // a stream at rest holds no memory
        out_sent_ = 0;
        stall_.never();
    } else if (out_sent_ > limits_.unsent_bytes_max && out_sent_ > out_.size() / 2) { // the rest is moved
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

} // namespace parley::net

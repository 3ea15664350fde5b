#include "net/stream.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace parley::net {
namespace {

class PlainStream final : public Stream {
public:
    using Stream::Stream;
    using Stream::try_write;

    IoCount try_read(std::span<char> into) noexcept override {
        for (;;) {
            auto const n = ::recv(descriptor(), into.data(), into.size(), MSG_DONTWAIT);
            if (n > 0) {
                if (static_cast<std::size_t>(n) < into.size()) note_emptied();
                return {IoStatus::kOk, static_cast<std::size_t>(n)};
            }
            if (n == 0) return {IoStatus::kEof, 0};
            if (errno == EINTR) continue;
            if (errno == EAGAIN || errno == EWOULDBLOCK) {
                note_emptied();
                return {IoStatus::kWouldBlockRead, 0};
            }
            return failed();
        }
    }

    IoCount try_write(std::string_view bytes) noexcept override { return try_write(std::span(&bytes, 1)); }

    IoCount try_write(std::span<std::string_view const> pieces) noexcept override {
        std::array<iovec, kPiecesMax> vectors;
        std::size_t count = 0;
        for (auto const& piece : pieces.first(std::min(pieces.size(), kPiecesMax)))
            if (!piece.empty()) vectors[count++] = {const_cast<char*>(piece.data()), piece.size()};
        msghdr message{};
        message.msg_iov = vectors.data();
        message.msg_iovlen = count;
        for (;;) {
            auto const n = ::sendmsg(descriptor(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n >= 0) return {IoStatus::kOk, static_cast<std::size_t>(n)};
            if (errno == EINTR) continue;
            if (errno == EAGAIN || errno == EWOULDBLOCK) return {IoStatus::kWouldBlockWrite, 0};
            return failed();
        }
    }

    core::Awaitable<core::Result<>> handshake() override { co_return core::Result<>{}; }

private:
    IoCount failed() noexcept {
        last_error_ = {errno, boost::system::system_category()};
        return {IoStatus::kError, 0};
    }
};

} // namespace

IoCount Stream::try_write(std::span<std::string_view const> pieces) noexcept {
    IoCount all;
    for (auto const& piece : pieces) {
        if (piece.empty()) continue;
        auto const wrote = try_write(piece);
        if (wrote.status != IoStatus::kOk) return all.bytes == 0 || wrote.status == IoStatus::kError ? wrote : all;
        all.bytes += wrote.bytes;
        if (wrote.bytes < piece.size()) break;
    }
    return all;
}

Stream::Stream(Loop& loop, TcpSocket socket) : poller_(loop.poller()), news_(loop.executor()) {
    boost::system::error_code error;
    socket_ = socket.release(error); // out of Asio's set, into ours
    if (error) {
        socket_ = -1;
    } else if (!poller_.add(socket_, *this)) {
        ::close(std::exchange(socket_, -1));
    }
}

Stream::~Stream() {
    abort();
}

void Stream::on_news(Poller::News news) {
    maybe_readable_ |= news.readable;
    ended_ |= news.ended;
    failed_ |= news.failed;
    if (news_.has_waiter()) {
        news_.wake();
    } else if (observer_) {
        observer_->on_news(news);
    }
}

void Stream::on_loop_end() noexcept {
    news_.drop_waiter();
}

void Stream::shutdown_send() noexcept {
    ::shutdown(socket_, SHUT_WR);
}

void Stream::abort() noexcept {
    if (socket_ < 0) return;
    poller_.remove(socket_, *this);
    ::close(std::exchange(socket_, -1));
    if (news_.has_waiter()) news_.set();
}

void Stream::reset() noexcept {
    linger const at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    abort();
}

std::string Stream::last_error() const {
    return last_error_.message();
}

std::unique_ptr<Stream> make_plain_stream(Loop& loop, TcpSocket socket) {
    return std::make_unique<PlainStream>(loop, std::move(socket));
}

IoStatus write_some(Stream& stream, std::span<std::string_view> pieces) noexcept {
    while (!std::ranges::all_of(pieces, &std::string_view::empty)) {
        auto wrote = stream.try_write(pieces);
        if (wrote.status != IoStatus::kOk) return wrote.status == IoStatus::kEof ? IoStatus::kError : wrote.status;
        for (auto& piece : pieces) {
            auto const part = std::min(wrote.bytes, piece.size());
            piece.remove_prefix(part);
            wrote.bytes -= part;
        }
    }
    return IoStatus::kOk;
}

core::Awaitable<bool> write_rest(Stream& stream, std::span<std::string_view> pieces) {
    for (auto status = write_some(stream, pieces); status != IoStatus::kOk; status = write_some(stream, pieces)) {
        if (status == IoStatus::kError) co_return false;
        co_await stream.wait();
        if (!stream.is_open()) co_return false;
    }
    co_return true;
}

IoCount read_now(Stream& stream, std::span<char> into) noexcept {
    if (!stream.is_open()) return {IoStatus::kError, 0};
    if (!stream.maybe_readable()) return {IoStatus::kWouldBlockRead, 0};
    return stream.try_read(into);
}

core::Awaitable<IoCount> read_some(Stream& stream, std::span<char> into) {
    for (;;) {
        auto const got = read_now(stream, into);
        if (!got.would_block()) co_return got;
        co_await stream.wait();
    }
}

} // namespace parley::net

#include "net/stream.hpp"

#include <boost/asio/redirect_error.hpp>

#include <algorithm>
#include <array>
#include <cerrno>

#include <sys/socket.h>
#include <sys/uio.h>

#include "net/signal.hpp"

namespace parley::net {
namespace {

class PlainStream final : public Stream {
public:
    using Stream::Stream;
    using Stream::try_write;

    IoCount try_read(std::span<char> into) noexcept override {
        for (;;) {
            auto const n = ::recv(socket_.native_handle(), into.data(), into.size(), MSG_DONTWAIT);
            if (n > 0) {
                maybe_readable_ = static_cast<std::size_t>(n) == into.size();
                return {IoStatus::kOk, static_cast<std::size_t>(n)};
            }
            if (n == 0) return {IoStatus::kEof, 0};
            if (errno == EINTR) continue;
            if (errno == EAGAIN || errno == EWOULDBLOCK) {
                maybe_readable_ = false;
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
            auto const n = ::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
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

void Stream::shutdown_send() noexcept {
    boost::system::error_code ignored;
    socket_.shutdown(TcpSocket::shutdown_send, ignored);
}

core::Awaitable<void> Stream::wait_readable(boost::system::error_code& error) {
    maybe_readable_ = true;
    return socket_.async_wait(TcpSocket::wait_read, boost::asio::redirect_error(use_awaitable, error));
}

core::Awaitable<void> Stream::wait_writable(boost::system::error_code& error) {
    return socket_.async_wait(TcpSocket::wait_write, boost::asio::redirect_error(use_awaitable, error));
}

void Stream::abort() noexcept {
    boost::system::error_code ignored;
    socket_.close(ignored);
}

void Stream::reset() noexcept {
    boost::system::error_code ignored;
    if (socket_.is_open()) socket_.set_option(boost::asio::socket_base::linger(true, 0), ignored);
    abort();
}

std::string Stream::last_error() const {
    return last_error_.message();
}

std::unique_ptr<Stream> make_plain_stream(TcpSocket socket) {
    return std::make_unique<PlainStream>(std::move(socket));
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
        boost::system::error_code error;
        if (status == IoStatus::kWouldBlockRead) {
            co_await stream.wait_readable(error);
        } else {
            co_await stream.wait_writable(error);
        }
        if (error || !stream.is_open()) co_return false;
    }
    co_return true;
}

core::Awaitable<IoCount> read_some(Stream& stream, std::span<char> into) {
    for (;;) {
        if (!stream.is_open()) co_return IoCount{IoStatus::kError, 0};
        auto got = IoCount{IoStatus::kWouldBlockRead, 0};
        if (stream.maybe_readable()) got = stream.try_read(into);
        boost::system::error_code error;
        if (got.status == IoStatus::kWouldBlockRead) {
            co_await stream.wait_readable(error);
        } else if (got.status == IoStatus::kWouldBlockWrite) {
            co_await stream.wait_writable(error);
        } else {
            co_return got;
        }
        if (error) co_return IoCount{IoStatus::kError, 0};
    }
}

} // namespace parley::net

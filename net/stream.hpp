// A connected byte stream, plain or TLS, over a non-blocking socket. Used on one loop. The rule of both directions:
// try at once, wait only when the kernel says so; nothing is held in a buffer while waiting.
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/system/error_code.hpp>

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/task.hpp"
#include "net/loop.hpp"

namespace parley::net {

using TcpSocket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, core::Executor>;

enum class IoStatus : std::uint8_t { kOk, kWouldBlockRead, kWouldBlockWrite, kEof, kError };

struct IoCount {
    IoStatus status = IoStatus::kOk;
    std::size_t bytes = 0;
};

class Stream {
public:
    static constexpr std::size_t kPiecesMax = 4;

    explicit Stream(TcpSocket socket) : socket_(std::move(socket)) {}
    virtual ~Stream() = default;
    Stream(Stream const&) = delete;
    Stream& operator=(Stream const&) = delete;

    /// Reads what is there. kWouldBlock*: nothing now; wait for that direction. kEof: orderly end.
    virtual IoCount try_read(std::span<char> into) noexcept = 0;

    /// Writes what is taken at once, which may be a part.
    virtual IoCount try_write(std::string_view bytes) noexcept = 0;

    /// One piece behind the other, at most kPiecesMax of them, in one go where the transport can.
    virtual IoCount try_write(std::span<std::string_view const> pieces) noexcept;

    /// Does what must be done after connect/accept before bytes flow (TLS handshake). Errors: text for the log.
    virtual core::Awaitable<core::Result<>> handshake() = 0;

    /// Says goodbye in the transport's words as far as that takes no waiting.
    virtual void shutdown_send() noexcept;

    /// True while decrypted or undecrypted bytes may be pending although the socket is not readable.
    virtual bool has_buffered() const noexcept { return false; }

    /// Waits until the socket may be readable (or writable). `error`: operation_aborted after abort().
    core::Awaitable<void> wait_readable(boost::system::error_code& error);
    core::Awaitable<void> wait_writable(boost::system::error_code& error);

    /// False when the last try_read has emptied the socket: there is no point in another before a wait. Who waits on
    /// the socket itself says when it is over.
    bool maybe_readable() const noexcept { return maybe_readable_; }
    void note_readable() noexcept { maybe_readable_ = true; }

    /// Makes every wait end now and the connection unusable. Safe to call twice.
    void abort() noexcept;

    /// abort() that also makes the peer see a reset instead of an orderly end.
    void reset() noexcept;

    TcpSocket& socket() noexcept { return socket_; }
    bool is_open() const noexcept { return socket_.is_open(); }

    /// What went wrong in the last call that returned kError, for the log.
    virtual std::string last_error() const;

protected:
    TcpSocket socket_;
    boost::system::error_code last_error_;
    bool maybe_readable_ = true; // until a read found less than it asked for
};

std::unique_ptr<Stream> make_plain_stream(TcpSocket socket);

/// Writes what is taken at once of at most Stream::kPiecesMax pieces, and leaves in them what was not. kOk: nothing;
/// kWouldBlock*: wait for that direction; kError: the connection is lost.
IoStatus write_some(Stream& stream, std::span<std::string_view> pieces) noexcept;

/// Goes on until all is written. False = the connection is lost.
core::Awaitable<bool> write_rest(Stream& stream, std::span<std::string_view> pieces);

/// Waits for and reads the next bytes. kOk with bytes > 0, kEof or kError.
core::Awaitable<IoCount> read_some(Stream& stream, std::span<char> into);

} // namespace parley::net

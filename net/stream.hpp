// A connected byte stream, plain or TLS, over a non-blocking socket. Used on one loop. The rule of both directions:
// try at once, wait only when the kernel says so; nothing is held in a buffer while waiting. The kernel tells of a
// change once (Poller), so who waits must have tried until it would block.
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
#include "net/poller.hpp"
#include "net/signal.hpp"

namespace parley::net {

using TcpSocket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, core::Executor>;

enum class IoStatus : std::uint8_t { kOk, kWouldBlockRead, kWouldBlockWrite, kEof, kError };

struct IoCount {
    IoStatus status = IoStatus::kOk;
    std::size_t bytes = 0;

    bool would_block() const noexcept {
        return status == IoStatus::kWouldBlockRead || status == IoStatus::kWouldBlockWrite;
    }
};

class Stream : private Poller::Watcher {
public:
    static constexpr std::size_t kPiecesMax = 4;

    /// Who owns the stream and wants to be told its news while no coroutine waits for them.
    class Observer {
    public:
        virtual void on_news(Poller::News news) = 0; // may destroy the stream

    protected:
        ~Observer() = default;
    };

    /// Takes the socket. When the kernel cannot watch it, the stream is not open.
    Stream(Loop& loop, TcpSocket socket);
    virtual ~Stream();
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

    /// Waits until there is news of any kind. The stream is not open then after abort().
    core::Awaitable<void> wait() { return news_.next(); }
    void observe(Observer& observer) noexcept { observer_ = &observer; }

    /// False when the last try_read has emptied the socket and nothing has come since: there is no point in another.
    bool maybe_readable() const noexcept { return maybe_readable_; }

    /// The peer has reset the connection.
    bool failed() const noexcept { return failed_; }

    /// Makes every wait end now and the connection unusable. Safe to call twice.
    void abort() noexcept;

    /// abort() that also makes the peer see a reset instead of an orderly end.
    void reset() noexcept;

    int descriptor() const noexcept { return socket_; }
    bool is_open() const noexcept { return socket_ >= 0; }

    /// What went wrong in the last call that returned kError, for the log.
    virtual std::string last_error() const;

protected:
    /// After a read that found less than it asked for. An end that came with the last bytes is told no second time.
    void note_emptied() noexcept { maybe_readable_ = ended_; }

    boost::system::error_code last_error_;

private:
    void on_news(Poller::News news) override;
    void on_loop_end() noexcept override;

    Poller& poller_;
    int socket_ = -1;
    Signal news_;
    Observer* observer_ = nullptr;
    bool maybe_readable_ = true; // until a read says otherwise
    bool ended_ = false;
    bool failed_ = false;
};

std::unique_ptr<Stream> make_plain_stream(Loop& loop, TcpSocket socket);

/// Writes what is taken at once of at most Stream::kPiecesMax pieces, and leaves in them what was not. kOk: nothing;
/// kWouldBlock*: wait for that direction; kError: the connection is lost.
IoStatus write_some(Stream& stream, std::span<std::string_view> pieces) noexcept;

/// Goes on until all is written. False = the connection is lost.
core::Awaitable<bool> write_rest(Stream& stream, std::span<std::string_view> pieces);

/// The next bytes, if they are there: kOk with bytes > 0, kEof, kError, or kWouldBlock*: wait().
IoCount read_now(Stream& stream, std::span<char> into) noexcept;

/// Waits for and reads the next bytes. kOk with bytes > 0, kEof or kError.
core::Awaitable<IoCount> read_some(Stream& stream, std::span<char> into);

} // namespace parley::net

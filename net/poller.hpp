// Which sockets of a loop have news: one epoll set, edge-triggered, in which a socket is registered once for all of its
// life. Asio's async_wait asks the kernel anew for every wait (docs/decisions/0016-poller.md). Used on one loop.
#pragma once

#include <boost/intrusive/list.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

#include <sys/epoll.h>

namespace parley::net {

class Poller {
public:
    /// What has happened to a socket since it was last told, besides that there may be room to write.
    struct News {
        bool readable = false; // bytes, an end or an error
        bool ended = false;    // the peer sends no more
        bool failed = false;   // reset
    };

    class Watcher
        : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
    public:
        /// May end this watcher, and any other.
        virtual void on_news(News news) = 0;

        /// The loop ends: nothing will come any more. What waits for it has to be destroyed, this watcher included.
        virtual void on_loop_end() noexcept = 0;

    protected:
        ~Watcher() = default;
    };

    /// Throws std::system_error when the kernel gives no epoll set.
    Poller();
    ~Poller();
    Poller(Poller const&) = delete;
    Poller& operator=(Poller const&) = delete;

    /// Readable while any socket has news.
    int descriptor() const noexcept { return epoll_; }

    /// `watcher` stays where it is until remove(). False: the kernel takes no more.
    [[nodiscard]] bool add(int socket, Watcher& watcher) noexcept;

    /// Before the socket is closed. No news of it come after this.
    void remove(int socket, Watcher& watcher) noexcept;

    /// Tells who has news, kNewsMax of them at most, without waiting for any.
    void dispatch();

    /// Tells all that are left that the loop ends.
    void end() noexcept;

private:
    static constexpr std::size_t kNewsMax = 128; // then timers and handlers have their turn

    int epoll_;
    boost::intrusive::list<Watcher, boost::intrusive::constant_time_size<false>> watchers_;
    std::array<epoll_event, kNewsMax> events_{};
    std::size_t next_ = 0; // of those that are being told
    std::size_t count_ = 0;
};

} // namespace parley::net

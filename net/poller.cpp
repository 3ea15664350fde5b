#include "net/poller.hpp"

#include <cerrno>
#include <system_error>

#include <unistd.h>

namespace parley::net {

Poller::Poller() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (epoll_ < 0) throw std::system_error(errno, std::system_category(), "epoll_create1");
}

Poller::~Poller() {
    ::close(epoll_);
}

bool Poller::add(int socket, Watcher& watcher) noexcept {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = &watcher;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event) != 0) return false;
    watchers_.push_back(watcher);
    return true;
}

void Poller::remove(int socket, Watcher& watcher) noexcept {
    ::epoll_ctl(epoll_, EPOLL_CTL_DEL, socket, nullptr); // a child that was just forked may hold a copy of the socket
    watcher.unlink();
    for (auto i = next_; i < count_; ++i)
        if (events_[i].data.ptr == &watcher) events_[i].data.ptr = nullptr;
}

void Poller::dispatch() {
    auto const got = ::epoll_wait(epoll_, events_.data(), static_cast<int>(kNewsMax), 0);
    count_ = got > 0 ? static_cast<std::size_t>(got) : 0;
    for (next_ = 0; next_ < count_;) {
        auto const& event = events_[next_++];
        auto* const watcher = static_cast<Watcher*>(event.data.ptr);
        if (!watcher) continue;
        auto const has = [bits = event.events](std::uint32_t wanted) { return (bits & wanted) != 0; };
        watcher->on_news({.readable = has(EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR),
                          .ended = has(EPOLLRDHUP | EPOLLHUP | EPOLLERR),
                          .failed = has(EPOLLERR)});
    }
    count_ = 0;
}

void Poller::end() noexcept {
    while (!watchers_.empty()) {
        auto& watcher = watchers_.front();
        watcher.unlink();
        watcher.on_loop_end();
    }
}

} // namespace parley::net

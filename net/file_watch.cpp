#include "net/file_watch.hpp"

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <stdexcept>

#include <sys/inotify.h>
#include <unistd.h>

namespace parley::net {
namespace {

constexpr std::chrono::milliseconds kQuiet{200};
constexpr std::uint32_t kEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_MOVED_FROM;

} // namespace

class FileWatch::Impl : public std::enable_shared_from_this<FileWatch::Impl> {
public:
    Impl(boost::asio::io_context& context, std::function<void()> changed)
        : changed_(std::move(changed)), fd_(context), quiet_(context) {
        auto const fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        if (fd < 0) throw std::runtime_error(std::string("cannot watch files: ") + std::strerror(errno));
        fd_.assign(fd);
    }

    void watch(std::vector<std::string> const& paths) {
        for (auto const& [wd, names] : watched_)
            ::inotify_rm_watch(fd_.native_handle(), wd);
        watched_.clear();
        for (auto const& path : paths) {
            std::error_code unusable;
            auto const full = std::filesystem::absolute(path, unusable);
            if (unusable) continue;
            auto const wd = ::inotify_add_watch(fd_.native_handle(), full.parent_path().c_str(), kEvents);
            if (wd >= 0) watched_[wd].insert(full.filename().string());
        }
    }

    void read() {
        auto on_ready = [weak = weak_from_this()](boost::system::error_code error) {
            auto const self = weak.lock();
            if (error || !self) return;
            self->drain();
            self->read();
        };
        fd_.async_wait(boost::asio::posix::stream_descriptor::wait_read, std::move(on_ready));
    }

    void close() {
        boost::system::error_code ignored;
        fd_.close(ignored);
        quiet_.cancel();
    }

private:
    void drain() {
        alignas(inotify_event) char buffer[4096];
        auto relevant = false;
        for (;;) {
            auto const n = ::read(fd_.native_handle(), buffer, sizeof buffer);
            if (n <= 0) break;
            for (char const* at = buffer; at < buffer + n;) {
                auto const* const event = reinterpret_cast<inotify_event const*>(at);
                auto const found = watched_.find(event->wd);
                relevant = relevant || (event->mask & IN_Q_OVERFLOW) != 0 ||
                           (event->len > 0 && found != watched_.end() && found->second.contains(event->name));
                at += sizeof(inotify_event) + event->len;
            }
        }
        if (!relevant) return;
        quiet_.expires_after(kQuiet); // also cancels the wait before
        auto on_quiet = [weak = weak_from_this()](boost::system::error_code error) {
            auto const self = weak.lock();
            if (!error && self) self->changed_();
        };
        quiet_.async_wait(std::move(on_quiet));
    }

    std::function<void()> changed_;
    boost::asio::posix::stream_descriptor fd_;
    boost::asio::steady_timer quiet_;
    std::map<int, std::set<std::string>> watched_; // folder -> file names
};

FileWatch::FileWatch(boost::asio::io_context& context, std::function<void()> changed)
    : impl_(std::make_shared<Impl>(context, std::move(changed))) {
    impl_->read();
}

FileWatch::~FileWatch() {
    impl_->close();
}

void FileWatch::watch(std::vector<std::string> const& paths) {
    impl_->watch(paths);
}

} // namespace parley::net

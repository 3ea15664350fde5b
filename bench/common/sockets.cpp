// Clock, epoll and TCP helpers of the benchmark tools, see sockets.hpp.
// Stateless but for Epoll, which its tool owns.
// Runs on the single thread of each tool.
#include "bench/common/sockets.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <system_error>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace parley::bench {

std::uint64_t now_ns() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(time.tv_nsec);
}

double process_cpu_s() {
    timespec time{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

std::string error_text(int code) {
    return std::system_category().message(code);
}

void die(std::string const& message) {
    int const code = errno;
    std::string const reason = code != 0 ? ": " + error_text(code) : "";
    std::fprintf(stderr, "%s: %s%s\n", program_invocation_short_name, message.c_str(), reason.c_str());
    ::_exit(1); // nothing is buffered, and no destructor may wait for a connection
}

void prepare_process() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }
    ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    std::signal(SIGPIPE, SIG_IGN);
}

sockaddr_in ipv4_address(std::string const& host, std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
        errno = 0;
        die("'" + host + "' is not an IPv4 address such as 127.0.0.1");
    }
    return address;
}

void set_no_delay(int fd) {
    int const on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int listen_on(sockaddr_in const& address, bool shared) {
    int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    int const on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (shared) ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (::bind(fd, reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0)
        die("cannot bind port " + std::to_string(ntohs(address.sin_port)));
    if (::listen(fd, SOMAXCONN) != 0) die("listen");
    return fd;
}

namespace {

// The port is chosen at connect(), where it only has to be free towards that one peer, not at bind().
bool bind_source(int fd, std::uint32_t source) {
    int const on = 1;
    ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + source);
    return ::bind(fd, reinterpret_cast<sockaddr const*>(&address), sizeof address) == 0;
}

} // namespace

int connect_to(sockaddr_in const& address, ConnectOptions const& options) {
    int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    set_no_delay(fd);
    int const bytes = options.receive_bytes_max;
    if (bytes != 0) ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    bool const bound = options.source == 0 || bind_source(fd, options.source);
    if (!bound ||
        (::connect(fd, reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0 && errno != EINPROGRESS)) {
        int const code = errno;
        ::close(fd);
        errno = code;
        return -1;
    }
    return fd;
}

struct Epoll::Ready {
    std::array<epoll_event, kEventsMax> events{};
};

Epoll::Epoll() : ready_(std::make_unique<Ready>()), fd_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (fd_ < 0) die("epoll_create1");
}

Epoll::~Epoll() {
    ::close(fd_);
}

void Epoll::add(int fd, std::uint32_t events, std::uint32_t id) {
    epoll_event event{};
    event.events = events;
    event.data.u32 = id;
    if (::epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl add");
}

void Epoll::change(int fd, std::uint32_t events, std::uint32_t id) {
    epoll_event event{};
    event.events = events;
    event.data.u32 = id;
    if (::epoll_ctl(fd_, EPOLL_CTL_MOD, fd, &event) != 0) die("epoll_ctl change");
}

int Epoll::wait_ready(std::uint64_t until_ns) {
    timespec limit{};
    timespec* limit_pointer = nullptr;
    if (until_ns != 0) {
        std::uint64_t const now = now_ns();
        std::uint64_t const left = until_ns > now ? until_ns - now : 0;
        limit.tv_sec = static_cast<time_t>(left / 1'000'000'000U);
        limit.tv_nsec = static_cast<long>(left % 1'000'000'000U);
        limit_pointer = &limit;
    }
    int const count = ::epoll_pwait2(fd_, ready_->events.data(), kEventsMax, limit_pointer, nullptr);
    if (count < 0 && errno != EINTR) die("epoll_pwait2 (needs Linux 5.11 or newer)");
    return count < 0 ? 0 : count;
}

std::uint32_t Epoll::ready_id(int index) const {
    return ready_->events[static_cast<std::size_t>(index)].data.u32;
}
std::uint32_t Epoll::ready_events(int index) const {
    return ready_->events[static_cast<std::size_t>(index)].events;
}

} // namespace parley::bench

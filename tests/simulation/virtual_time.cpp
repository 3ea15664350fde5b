#include "tests/simulation/virtual_time.hpp"

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <limits>
#include <random>

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kSteadyStart = 1'000'000'000'000'000;     // nanoseconds
constexpr std::int64_t kSystemStart = 1'767'225'600'000'000'000; // 2026-01-01, nanoseconds since 1970
constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;

// Read and written by the thread of the simulation; others (GoogleTest's, a pool that has nothing to do) only read.
struct World {
    bool is_virtual = false;
    std::int64_t now = 0; // nanoseconds since the world began
    std::int64_t due = kNever;
    int timer_fd = -1;
    epoll_event timer = {}; // as Asio registered it
    std::mt19937_64 chance;
};
World world; // NOLINT: what it stands in for is global, too

std::int64_t real_now(clockid_t clock) noexcept {
    timespec now{};
    ::clock_gettime(clock, &now);
    return now.tv_sec * kNanosecondsPerSecond + now.tv_nsec;
}

} // namespace

namespace parley::simulation {

VirtualTime::VirtualTime(std::uint64_t seed) {
    world = {};
    world.chance.seed(seed);
    world.is_virtual = true;
}

VirtualTime::~VirtualTime() {
    world.is_virtual = false;
}

std::chrono::milliseconds VirtualTime::now() noexcept {
    return std::chrono::milliseconds(world.now / 1'000'000);
}

} // namespace parley::simulation

// ---- instead of libstdc++'s

std::chrono::steady_clock::time_point std::chrono::steady_clock::now() noexcept {
    return time_point(duration(world.is_virtual ? kSteadyStart + world.now : real_now(CLOCK_MONOTONIC)));
}

std::chrono::system_clock::time_point std::chrono::system_clock::now() noexcept {
    return time_point(duration(world.is_virtual ? kSystemStart + world.now : real_now(CLOCK_REALTIME)));
}

std::random_device::result_type std::random_device::_M_getval() {
    if (world.is_virtual) return static_cast<result_type>(world.chance());
    result_type value = 0;
    if (::syscall(SYS_getrandom, &value, sizeof value, 0) != sizeof value) std::abort();
    return value;
}

// ---- instead of libc's, as far as Asio's reactor calls them

extern "C" {

int timerfd_create(int clock, int flags) noexcept {
    auto const fd = static_cast<int>(::syscall(SYS_timerfd_create, clock, flags));
    if (world.is_virtual) world.timer_fd = fd;
    return fd;
}

int timerfd_settime(int fd, int flags, itimerspec const* wanted, itimerspec* before) noexcept {
    if (!world.is_virtual) return static_cast<int>(::syscall(SYS_timerfd_settime, fd, flags, wanted, before));
    auto const wait = wanted->it_value.tv_sec * kNanosecondsPerSecond + wanted->it_value.tv_nsec;
    world.due = (flags & TFD_TIMER_ABSTIME) != 0 ? world.now : world.now + wait; // Asio's way to say: at once
    return 0;
}

int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
    if (world.is_virtual && fd == world.timer_fd && operation == EPOLL_CTL_ADD) world.timer = *event;
    return static_cast<int>(::syscall(SYS_epoll_ctl, epoll, operation, fd, event));
}

int epoll_wait(int epoll, epoll_event* events, int events_max, int timeout_ms) {
    if (!world.is_virtual)
        return static_cast<int>(::syscall(SYS_epoll_pwait, epoll, events, events_max, timeout_ms, nullptr, 0));
    if (world.due > world.now) {
        if (timeout_ms == 0) return 0; // others have something to do
        if (world.due == kNever) {
            std::fputs("simulation: everybody waits, and there is no timer\n", stderr);
            std::abort();
        }
        world.now = world.due;
    }
    events[0] = world.timer;
    return 1;
}

} // extern "C"

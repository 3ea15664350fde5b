#include "net/child_guard.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace parley::net {
namespace {

struct Note {
    std::int32_t group = 0;
    std::int32_t alive = 0;
};

// One a process by its nature: it stands for the process, and children cannot be started before it is there.
struct Guard {
    std::mutex mutex;
    int pipe = -1;
    pid_t pid = 0;
    std::set<std::int32_t> groups = {}; // that are alive; without any there is no guard
    std::vector<pid_t> dismissed = {};  // guards that had not ended yet when they were last looked at
};

Guard& guard() noexcept {
    static Guard one;
    return one;
}

// The guard leads a session of its own, so that Ctrl-C in a terminal reaches us and not it.
void start(Guard& one) noexcept {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
    ::posix_spawn_file_actions_adddup2(&actions, ends[0], 0);
    ::posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    sigset_t all;
    sigset_t none;
    sigfillset(&all);
    sigemptyset(&none);
    ::posix_spawnattr_setsigdefault(&attributes, &all);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    char name[] = "parley";
    std::array<char, ChildGuard::kArgument.size() + 1> argument{};
    std::copy(ChildGuard::kArgument.begin(), ChildGuard::kArgument.end(), argument.begin());
    std::array<char*, 3> argv{name, argument.data(), nullptr};
    std::array<char*, 1> envp{nullptr};
    auto const failed = ::posix_spawn(&one.pid, "/proc/self/exe", &actions, &attributes, argv.data(), envp.data());
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    ::close(ends[0]);
    if (failed) {
        ::close(ends[1]);
        return;
    }
    one.pipe = ends[1];
}

void reap(Guard& one) noexcept {
    std::erase_if(one.dismissed, [](pid_t pid) { return ::waitpid(pid, nullptr, WNOHANG) != 0; });
}

// A guard whose pipe is closed and that has no group left to kill is gone within a millisecond or two; on a busy
// machine it takes longer, and somebody looks again later.
void dismiss(Guard& one) noexcept {
    constexpr int kLooks = 5;
    constexpr std::chrono::milliseconds kPause{1};
    ::close(one.pipe);
    one.pipe = -1;
    one.dismissed.push_back(one.pid);
    for (auto look = 0; look < kLooks; ++look) {
        reap(one);
        if (one.dismissed.empty()) return;
        std::this_thread::sleep_for(kPause);
    }
}

bool write_note(Guard& one, Note const& note) noexcept {
    while (::write(one.pipe, &note, sizeof note) < 0)
        if (errno != EINTR) return false;
    return true;
}

void tell(Note const& note) noexcept {
    auto& one = guard();
    std::lock_guard const lock(one.mutex);
    reap(one);
    if (note.alive != 0) {
        one.groups.insert(note.group);
    } else {
        one.groups.erase(note.group);
    }
    if (one.pipe >= 0 && !write_note(one, note)) dismiss(one); // somebody has killed it: another one takes over
    if (one.pipe >= 0 && one.groups.empty()) dismiss(one);
    if (one.pipe >= 0 || one.groups.empty()) return;
    start(one);
    if (one.pipe < 0) return; // the death signal is what is left
    for (auto const group : one.groups)
        write_note(one, {group, 1});
}

} // namespace

void ChildGuard::add(pid_t group) noexcept {
    tell({group, 1});
}

void ChildGuard::remove(pid_t group) noexcept {
    tell({group, 0});
}

void ChildGuard::tidy() noexcept {
    auto& one = guard();
    std::lock_guard const lock(one.mutex);
    reap(one);
}

int ChildGuard::run() noexcept {
    std::vector<std::int32_t> groups;
    Note note;
    for (;;) {
        auto const n = ::read(0, &note, sizeof note);
        if (n < 0 && errno == EINTR) continue;
        if (n != sizeof note) break;
        std::erase(groups, note.group);
        if (note.alive != 0) groups.push_back(note.group);
    }
    for (auto const group : groups)
        ::kill(-group, SIGKILL);
    return 0;
}

} // namespace parley::net

// Sees to it that no process group of ours outlives us, not even after `kill -9`: a small process of our own program
// that holds one end of a pipe. When the other end closes, which the kernel does whatever we die of, it kills every
// group that it was told of. The death signal of a child reaches the child alone, not what npx or a shell started.
#pragma once

#include <string_view>

#include <sys/types.h>

namespace parley::net {

class ChildGuard {
public:
    /// The first argument by which the program knows that it is to be the guard.
    static constexpr std::string_view kArgument = "__child-guard";

    /// Tells the guard about a process group; starts it at the first one. Any thread.
    static void add(pid_t group) noexcept;
    static void remove(pid_t group) noexcept;

    /// Collects guards that have ended, so that none stays as a zombie. To be called now and then; any thread.
    static void tidy() noexcept;

    /// The guard's main(): reads the pipe on descriptor 0 until it closes. Returns the exit code.
    static int run() noexcept;
};

} // namespace parley::net

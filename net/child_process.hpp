// A program that runs for us and talks over its standard streams: in a process group of its own, with nothing of ours
// but the three pipes, and killed by the kernel when the thread that started it ends. Used on one loop; start it from a
// thread that lives as long as the process does.
#pragma once

#include <boost/asio/posix/basic_stream_descriptor.hpp>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "core/task.hpp"
#include "net/loop.hpp"

namespace parley::net {

struct ChildOptions {
    std::string program; // looked up in the PATH of `env`
    std::vector<std::string> args = {};
    std::vector<std::string> env = {}; // NAME=value, all there is
    std::string cwd = {};              // empty = ours
};

class ChildProcess {
public:
    /// Errors: kUpstreamUnavailable with the system's reason (no such program, no such folder, not executable).
    static core::Result<std::unique_ptr<ChildProcess>> start(Loop& loop, ChildOptions const& options);

    /// Kills the whole group if it is still there.
    ~ChildProcess();
    ChildProcess(ChildProcess const&) = delete;
    ChildProcess& operator=(ChildProcess const&) = delete;

    pid_t pid() const noexcept { return pid_; }

    /// Writes all of `bytes` to its standard input, one writer at a time. false = it does not read any more.
    core::Awaitable<bool> write(std::string_view bytes);

    /// Reads what is there, waits for some. 0 = the end, or close_pipes().
    core::Awaitable<std::size_t> read_output(std::span<char> into);
    core::Awaitable<std::size_t> read_errors(std::span<char> into);

    /// How many of the bytes that were written it has taken out of the pipe; also once it has ended.
    std::size_t input_read() noexcept;

    void close_input() noexcept;

    /// Makes every read and write end now.
    void close_pipes() noexcept;

    /// To the whole group; nothing once it was reaped.
    void signal(int number) noexcept;

    /// Waits until the program itself has ended, and reaps it. Its wait status.
    core::Awaitable<int> wait();

    /// The wait status, once it has ended.
    std::optional<int> status() noexcept;

private:
    using Descriptor = boost::asio::posix::basic_stream_descriptor<core::Executor>;

    ChildProcess(Loop& loop, pid_t pid, int pidfd, int input, int output, int errors);
    static core::Awaitable<std::size_t> read_from(Descriptor& pipe, std::span<char> into);

    pid_t pid_;
    Descriptor pidfd_;
    Descriptor input_;
    Descriptor output_;
    Descriptor errors_;
    std::size_t input_written_ = 0;
    std::optional<int> status_;
};

/// "ended with exit code 3", "was killed by signal 9 (Killed)".
std::string describe_exit(int wait_status);

} // namespace parley::net

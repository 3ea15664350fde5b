#include "net/child_process.hpp"

#include <boost/asio/redirect_error.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/child_guard.hpp"
#include "net/signal.hpp"

namespace parley::net {
namespace {

constexpr rlim_t kChildDescriptors = 4096; // ours is raised to the hard limit; select() users cannot take that

struct Pipe {
    int read = -1;
    int write = -1;

    ~Pipe() { close_both(); }
    bool open() noexcept {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
        read = ends[0];
        write = ends[1];
        return true;
    }
    void close_both() noexcept {
        for (auto* const end : {&read, &write})
            if (*end >= 0) ::close(std::exchange(*end, -1));
    }
};

// What the child says of itself when it cannot become the program.
struct Failure {
    enum class Step : int { kExec, kChdir };
    int reason = 0;
    Step step = Step::kExec;
};

struct Launch {
    char const* program;
    char* const* argv;
    char* const* envp;
    char const* cwd;
    int input, output, errors, failure;
    pid_t parent;
};

// Between fork and exec: async-signal-safe calls only, and no memory is asked for.
[[noreturn]] void become(Launch const& launch) noexcept {
    auto const fail = [&launch](Failure::Step step = Failure::Step::kExec) {
        Failure const failure{errno, step};
        [[maybe_unused]] auto const told = ::write(launch.failure, &failure, sizeof failure);
        ::_exit(127);
    };
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != launch.parent) ::_exit(127); // we are already orphaned: the signal will not come
    for (auto number = 1; number < NSIG; ++number)
        ::signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    if (::dup2(launch.input, 0) < 0 || ::dup2(launch.output, 1) < 0 || ::dup2(launch.errors, 2) < 0) fail();
    ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC); // whatever a library opened without O_CLOEXEC
    rlimit limit{};
    limit.rlim_max = 0;
    ::setrlimit(RLIMIT_CORE, &limit); // a dump could hold secrets
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > kChildDescriptors) {
        limit.rlim_cur = kChildDescriptors;
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (launch.cwd && ::chdir(launch.cwd) != 0) fail(Failure::Step::kChdir);
    ::execvpe(launch.program, launch.argv, launch.envp);
    fail();
    ::_exit(127);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> out;
    for (auto& text : texts)
        out.push_back(text.data());
    out.push_back(nullptr);
    return out;
}

// execvpe looks in the PATH of the caller, not of the new environment: so the path is searched here.
std::string find_program(std::string const& name, std::vector<std::string> const& env) {
    if (name.find('/') != std::string::npos) return name;
    std::string_view path = "/usr/local/bin:/usr/bin:/bin";
    for (auto const& entry : env)
        if (entry.starts_with("PATH=")) path = std::string_view(entry).substr(5);
    while (!path.empty()) {
        auto const end = std::min(path.find(':'), path.size());
        auto const candidate = std::string(path.substr(0, end)) + "/" + name;
        if (end != 0 && ::access(candidate.c_str(), X_OK) == 0) return candidate;
        path.remove_prefix(std::min(end + 1, path.size()));
    }
    return name;
}

core::Error cannot_start(ChildOptions const& options, Failure const& failure) {
    auto text = "The program '" + options.program + "' cannot be started";
    text += failure.step == Failure::Step::kChdir
                ? ", because its folder (cwd) '" + options.cwd + "' cannot be entered: "
                : std::string(": ");
    return core::make_error(core::Errc::kUpstreamUnavailable, text + std::strerror(failure.reason) + ".");
}

} // namespace

core::Result<std::unique_ptr<ChildProcess>> ChildProcess::start(Loop& loop, ChildOptions const& options) {
    Pipe input;
    Pipe output;
    Pipe errors;
    Pipe failure;
    if (!input.open() || !output.open() || !errors.open() || !failure.open()) return cannot_start(options, {errno});
    auto const program = find_program(options.program, options.env);
    std::vector<std::string> args{options.program};
    args.insert(args.end(), options.args.begin(), options.args.end());
    auto env = options.env;
    auto const argv = pointers(args);
    auto const envp = pointers(env);
    auto const* const cwd = options.cwd.empty() ? nullptr : options.cwd.c_str();
    Launch const launch{program.c_str(), argv.data(),  envp.data(),   cwd,       input.read,
                        output.write,    errors.write, failure.write, ::getpid()};
    auto const pid = ::fork();
    if (pid < 0) return cannot_start(options, {errno});
    if (pid == 0) become(launch);
    ::setpgid(pid, pid); // both sides: whoever comes first
    ChildGuard::add(pid);
    ::close(std::exchange(failure.write, -1));
    Failure fault;
    auto const told = ::read(failure.read, &fault, sizeof fault); // ends with exec, which closes the other side
    auto const pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    if (told > 0 || pidfd < 0) {
        if (told <= 0) fault = {errno};
        ::kill(-pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
        ChildGuard::remove(pid);
        if (pidfd >= 0) ::close(pidfd);
        return cannot_start(options, fault);
    }
    for (auto const end : {input.write, output.read, errors.read})
        ::fcntl(end, F_SETFL, O_NONBLOCK);
    return std::unique_ptr<ChildProcess>(new ChildProcess(loop, pid, pidfd, std::exchange(input.write, -1),
                                                          std::exchange(output.read, -1),
                                                          std::exchange(errors.read, -1)));
}

ChildProcess::ChildProcess(Loop& loop, pid_t pid, int pidfd, int input, int output, int errors)
    : pid_(pid),
      pidfd_(loop.executor(), pidfd),
      input_(loop.executor(), input),
      output_(loop.executor(), output),
      errors_(loop.executor(), errors) {}

ChildProcess::~ChildProcess() {
    if (status()) return;
    signal(SIGKILL);
    auto status = 0;
    ::waitpid(pid_, &status, 0);
    ChildGuard::remove(pid_);
}

core::Awaitable<bool> ChildProcess::write(std::string_view bytes) {
    while (!bytes.empty()) {
        if (!input_.is_open()) co_return false;
        auto const n = ::write(input_.native_handle(), bytes.data(), bytes.size());
        if (n > 0) {
            input_written_ += static_cast<std::size_t>(n);
            bytes.remove_prefix(static_cast<std::size_t>(n));
            continue;
        }
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno != EAGAIN) co_return false;
        boost::system::error_code error;
        co_await input_.async_wait(Descriptor::wait_write, boost::asio::redirect_error(use_awaitable, error));
        if (error) co_return false;
    }
    co_return true;
}

core::Awaitable<std::size_t> ChildProcess::read_from(Descriptor& pipe, std::span<char> into) {
    while (pipe.is_open()) {
        auto const n = ::read(pipe.native_handle(), into.data(), into.size());
        if (n >= 0) co_return static_cast<std::size_t>(n);
        if (errno == EINTR) continue;
        if (errno != EAGAIN) co_return 0;
        boost::system::error_code error;
        co_await pipe.async_wait(Descriptor::wait_read, boost::asio::redirect_error(use_awaitable, error));
        if (error) co_return 0;
    }
    co_return 0;
}

core::Awaitable<std::size_t> ChildProcess::read_output(std::span<char> into) {
    return read_from(output_, into);
}

core::Awaitable<std::size_t> ChildProcess::read_errors(std::span<char> into) {
    return read_from(errors_, into);
}

void ChildProcess::close_input() noexcept {
    boost::system::error_code ignored;
    input_.close(ignored);
}

void ChildProcess::close_pipes() noexcept {
    boost::system::error_code ignored;
    input_.close(ignored);
    output_.close(ignored);
    errors_.close(ignored);
}

// After it was reaped only what it left behind in its group can be hit: the group id is not given out again while that
// is there, and if it is not, nothing is hit, for we do not wait between reaping and the last signal.
std::size_t ChildProcess::input_read() noexcept {
    auto unread = 0; // a pipe keeps what nobody has read as long as one of its ends is open
    if (!input_.is_open() || ::ioctl(input_.native_handle(), FIONREAD, &unread) != 0) return input_written_;
    return input_written_ - static_cast<std::size_t>(unread);
}

void ChildProcess::signal(int number) noexcept {
    if (!status_) ::kill(-pid_, number);
}

std::optional<int> ChildProcess::status() noexcept {
    if (status_) return status_;
    auto status = 0;
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
        return std::nullopt;
    ::kill(-pid_, SIGKILL); // what it has started itself (npx, uvx), before the id is free
    if (::waitpid(pid_, &status, 0) != pid_) return std::nullopt;
    ChildGuard::remove(pid_);
    status_ = status;
    return status_;
}

core::Awaitable<int> ChildProcess::wait() {
    for (;;) {
        auto const ended = status();
        if (ended) co_return *ended;
        boost::system::error_code error;
        co_await pidfd_.async_wait(Descriptor::wait_read, boost::asio::redirect_error(use_awaitable, error));
        if (error) co_return -1;
    }
}

std::string describe_exit(int wait_status) {
    if (WIFEXITED(wait_status)) return "ended with exit code " + std::to_string(WEXITSTATUS(wait_status));
    if (WIFSIGNALED(wait_status)) {
        auto const number = WTERMSIG(wait_status);
        return "was killed by signal " + std::to_string(number) + " (" + ::strsignal(number) + ")";
    }
    return "ended";
}

} // namespace parley::net

// Clock, epoll and TCP helpers of the benchmark tools: thin, non-blocking, errors end the tool with one clear line.
// Linux only (epoll_pwait2: kernel 5.11). Descriptors returned are owned by the caller.
// Runs on the single thread of each tool.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <netinet/in.h>

namespace parley::bench {

// CLOCK_MONOTONIC: the same clock in both tools, so that times written by one can be read by the other.
[[nodiscard]] std::uint64_t now_ns();

// CPU time of this process so far, in seconds.
[[nodiscard]] double process_cpu_s();

// What errno's value `code` means, in words.
[[nodiscard]] std::string error_text(int code);

// Prints "PROGRAM: MESSAGE: errno text" and exits 1. For trouble at start-up only.
[[noreturn]] void die(std::string const& message);

// As many descriptors as the hard limit allows; timers exact instead of the default 50 us late; no SIGPIPE.
void prepare_process();

// 127.0.0.1:port, or another IPv4 address in dotted form.
[[nodiscard]] sockaddr_in ipv4_address(std::string const& host, std::uint16_t port);

// `shared`: other processes may listen there, too (SO_REUSEPORT); the kernel deals connections out among them.
[[nodiscard]] int listen_on(sockaddr_in const& address, bool shared = false);

struct ConnectOptions {
    std::uint32_t source = 0; // of 127.0.0.2 and up, the how manieth; 0: the kernel's choice. Each has ports of its own
    int receive_bytes_max = 0; // of the kernel's buffer; 0: its choice
};
// Starts a non-blocking connect with TCP_NODELAY; -1 if it failed at once (errno says why).
[[nodiscard]] int connect_to(sockaddr_in const& address, ConnectOptions const& options = {});
void set_no_delay(int fd);

class Epoll {
public:
    Epoll();
    ~Epoll();
    Epoll(Epoll const&) = delete;
    Epoll& operator=(Epoll const&) = delete;

    // `events` as in epoll_ctl(2), level-triggered; `id` comes back from wait().
    void add(int fd, std::uint32_t events, std::uint32_t id);
    void change(int fd, std::uint32_t events, std::uint32_t id);

    // Waits until something is ready or the time is `until_ns` (0: no limit), then calls on_event(id, events) for each.
    template <typename OnEvent>
    void wait(std::uint64_t until_ns, OnEvent on_event) {
        int const count = wait_ready(until_ns);
        for (int i = 0; i < count; ++i)
            on_event(ready_id(i), ready_events(i));
    }

private:
    static constexpr int kEventsMax = 512;
    int wait_ready(std::uint64_t until_ns);
    [[nodiscard]] std::uint32_t ready_id(int index) const;
    [[nodiscard]] std::uint32_t ready_events(int index) const;

    struct Ready;
    std::unique_ptr<Ready> ready_;
    int fd_;
};

} // namespace parley::bench

// parley_bench_mock: a model server that costs next to nothing, so that what is measured is the gateway before it.
// Answers POST /v1/chat/completions (JSON, or a paced stream), GET /v1/models and GET /health; deterministic but for
// the send-time marks. One epoll loop on one thread owns every connection; 10,000 streams are within its limits.
#include <CLI/CLI.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/common/answers.hpp"
#include "bench/common/http_reader.hpp"
#include "bench/common/mark.hpp"
#include "bench/common/sockets.hpp"

namespace parley::bench {
namespace {

constexpr std::size_t kReadBytes = std::size_t{256} * 1024;
// A stream whose reader is slow waits above this, so that a stalled one costs no more.
constexpr std::size_t kUnsentBytesMax = std::size_t{256} * 1024;
// Sent by a client while its answer is still being written; more than this is a client that will not listen.
constexpr std::size_t kEarlyBytesMax = std::size_t{1024} * 1024;

struct Connection {
    HttpReader reader{HttpReader::Kind::kRequest};
    BodyWindow window;
    std::string unsent; // accepted by us, not yet by the kernel
    std::string early;  // the next request, arrived before this answer was complete
    AnswerShape shape;
    std::uint32_t generation = 0; // grows when the descriptor is reused: a timer of an earlier life does nothing
    std::uint32_t events_left = 0;
    bool open = false;
    bool answering = false;
    bool started = false; // head and role event are out
    bool waits_for_room = false;
    bool held = false; // its reader is slow, no event is made
    bool last = false; // close once everything is sent
    std::uint64_t due_ns = 0;
};

struct Timer {
    std::uint64_t due_ns;
    std::uint32_t fd;
    std::uint32_t generation;
    bool operator>(Timer const& other) const { return due_ns > other.due_ns; }
};

class MockUpstream {
public:
    MockUpstream(sockaddr_in const& address, bool shared, AnswerShape const& defaults)
        : defaults_(defaults), listener_(listen_on(address, shared)), input_(kReadBytes) {
        epoll_.add(listener_, EPOLLIN, static_cast<std::uint32_t>(listener_));
    }

    [[noreturn]] void run() {
        for (;;) {
            std::uint64_t const until_ns = timers_.empty() ? 0 : timers_.top().due_ns;
            epoll_.wait(until_ns, [this](std::uint32_t fd, std::uint32_t events) { on_ready(fd, events); });
            run_timers();
        }
    }

private:
    void on_ready(std::uint32_t fd, std::uint32_t events) {
        if (fd == static_cast<std::uint32_t>(listener_)) return accept_all();
        Connection& connection = *connections_[fd];
        if ((events & EPOLLOUT) != 0) flush(fd, connection);
        if (connection.open && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive(fd, connection);
    }

    void accept_all() {
        for (;;) {
            int const fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd < 0 && (errno == EMFILE || errno == ENFILE)) die("no descriptors left; raise the limit (ulimit -n)");
            if (fd < 0) return;
            set_no_delay(fd);
            auto const id = static_cast<std::uint32_t>(fd);
            if (connections_.size() <= id) connections_.resize(id + 1);
            if (!connections_[id]) connections_[id] = std::make_unique<Connection>();
            connections_[id]->open = true;
            epoll_.add(fd, EPOLLIN, id);
        }
    }

    void close(std::uint32_t fd, Connection& connection) {
        ::close(static_cast<int>(fd));
        std::uint32_t const generation = connection.generation + 1;
        connection = Connection{};
        connection.generation = generation;
    }

    void receive(std::uint32_t fd, Connection& connection) {
        ssize_t const got = ::recv(static_cast<int>(fd), input_.data(), input_.size(), 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (got <= 0) return close(fd, connection);
        std::string_view const bytes(input_.data(), static_cast<std::size_t>(got));
        if (!connection.answering) return read_requests(fd, connection, bytes);
        connection.early.append(bytes);
        if (connection.early.size() > kEarlyBytesMax) close(fd, connection);
    }

    // Takes requests out of `bytes` until one of them has an answer that takes time; the rest is kept for after it.
    void read_requests(std::uint32_t fd, Connection& connection, std::string_view bytes) {
        while (!bytes.empty()) {
            bytes.remove_prefix(
                connection.reader.feed(bytes, [&](std::string_view piece) { connection.window.feed(piece); }));
            if (connection.reader.failed()) return close(fd, connection);
            if (!connection.reader.complete()) return;
            answer(fd, connection);
            if (!connection.open) return;
            if (connection.answering) {
                connection.early.assign(bytes);
                return;
            }
        }
    }

    void answer(std::uint32_t fd, Connection& connection) {
        std::string_view const line = connection.reader.first_line();
        if (line.starts_with("POST /v1/chat/completions")) {
            connection.shape = shape_of(connection.window.text(), defaults_);
            connection.answering = true;
            connection.started = false;
            connection.events_left = connection.shape.stream ? connection.shape.events : 1;
            connection.due_ns = now_ns() + connection.shape.delay_ms * std::uint64_t{1'000'000};
            if (connection.shape.delay_ms > 0) return schedule(fd, connection);
            return proceed(fd, connection);
        }
        if (line.starts_with("GET /v1/models")) {
            send(fd, connection, book_.models());
        } else if (line.starts_with("GET /health")) {
            send(fd, connection, book_.health());
        } else {
            send(fd, connection, book_.not_found());
        }
        finish(fd, connection);
    }

    // Sends what is due of the answer and arms the timer for the rest.
    void proceed(std::uint32_t fd, Connection& connection) {
        std::uint64_t const now = now_ns();
        if (connection.shape.asks_for_tool) {
            send(fd, connection, book_.tool_call(connection.shape.tool, connection.shape.stream));
            return finish(fd, connection);
        }
        if (!connection.shape.stream) {
            send_marked(fd, connection, book_.completion(connection.shape.answer_bytes), now);
            return finish(fd, connection);
        }
        if (connection.unsent.size() > kUnsentBytesMax) {
            connection.held = true; // flush() goes on
            return;
        }
        output_.clear();
        if (!connection.started) output_ += book_.stream_start();
        connection.started = true;
        AnswerBook::Marked const& event = book_.content_event(connection.shape.event_bytes);
        while (connection.events_left > 0 && connection.due_ns <= now && output_.size() <= kUnsentBytesMax) {
            std::size_t const at = output_.size();
            output_ += event.bytes;
            write_mark(output_.data() + at + event.mark_offset, now);
            --connection.events_left;
            connection.due_ns += connection.shape.interval_ms * std::uint64_t{1'000'000};
        }
        if (connection.events_left == 0) output_ += book_.stream_end();
        send(fd, connection, output_);
        if (!connection.open) return;
        if (connection.events_left > 0) return schedule(fd, connection);
        finish(fd, connection);
    }

    void finish(std::uint32_t fd, Connection& connection) {
        if (!connection.open) return;
        connection.last = !connection.reader.keep_alive();
        connection.answering = false;
        connection.reader.reset();
        connection.window.clear();
        if (connection.last && connection.unsent.empty()) close(fd, connection);
    }

    void schedule(std::uint32_t fd, Connection const& connection) {
        timers_.push({connection.due_ns, fd, connection.generation});
    }

    void run_timers() {
        std::uint64_t const now = now_ns();
        while (!timers_.empty() && timers_.top().due_ns <= now) {
            Timer const timer = timers_.top();
            timers_.pop();
            Connection& connection = *connections_[timer.fd];
            if (!connection.open || connection.generation != timer.generation) continue;
            proceed(timer.fd, connection);
            if (!connection.open || connection.answering || connection.early.empty()) continue;
            std::string const early = std::move(connection.early);
            connection.early.clear();
            read_requests(timer.fd, connection, early);
        }
    }

    void send_marked(std::uint32_t fd, Connection& connection, AnswerBook::Marked const& answer, std::uint64_t now) {
        output_.assign(answer.bytes);
        write_mark(output_.data() + answer.mark_offset, now);
        send(fd, connection, output_);
    }

    void send(std::uint32_t fd, Connection& connection, std::string_view bytes) {
        if (connection.unsent.empty()) {
            ssize_t const sent = ::send(static_cast<int>(fd), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent < 0 && errno != EAGAIN && errno != EINTR) return close(fd, connection);
            if (sent > 0) bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
        if (bytes.empty()) return;
        connection.unsent.append(bytes);
        want_room(fd, connection, true);
    }

    void flush(std::uint32_t fd, Connection& connection) {
        std::string const bytes = std::move(connection.unsent);
        connection.unsent.clear();
        want_room(fd, connection, false);
        send(fd, connection, bytes);
        if (connection.open && connection.last && connection.unsent.empty()) return close(fd, connection);
        if (!connection.open || !connection.held || connection.unsent.size() > kUnsentBytesMax) return;
        connection.held = false;
        schedule(fd, connection); // not at once: a timer also looks after the request behind this one
    }

    void want_room(std::uint32_t fd, Connection& connection, bool wanted) {
        if (connection.waits_for_room == wanted) return;
        connection.waits_for_room = wanted;
        epoll_.change(static_cast<int>(fd), wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, fd);
    }

    AnswerShape defaults_;
    AnswerBook book_;
    Epoll epoll_;
    int listener_;
    std::vector<std::unique_ptr<Connection>> connections_; // by descriptor; kept for the next use of the number
    std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;
    std::vector<char> input_;
    std::string output_;
};

} // namespace
} // namespace parley::bench

int main(int argc, char** argv) {
    using namespace parley::bench;
    CLI::App app{"Mock model server for Parley's benchmarks"};
    std::string host = "127.0.0.1";
    std::uint16_t port = 9001;
    bool shared = false;
    AnswerShape shape;
    app.add_option("--host", host, "IPv4 address to listen on")->capture_default_str();
    app.add_option("--port", port, "Port to listen on")->capture_default_str();
    app.add_flag("--share-port", shared, "Let other processes listen there, too, each with its share of connections");
    app.add_option("--events", shape.events, "Content events of a stream")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    app.add_option("--interval-ms", shape.interval_ms, "Time between them; 0: all at once")->capture_default_str();
    app.add_option("--event-bytes", shape.event_bytes, "Size of one content event")->capture_default_str();
    app.add_option("--answer-bytes", shape.answer_bytes, "Text of an answer that is not streamed")
        ->capture_default_str();
    app.add_option("--delay-ms", shape.delay_ms, "Time to the first byte of an answer")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    prepare_process();
    MockUpstream mock(ipv4_address(host, port), shared, shape);
    std::printf("listening on %s:%u\n", host.c_str(), static_cast<unsigned>(port));
    std::fflush(stdout);
    mock.run();
}

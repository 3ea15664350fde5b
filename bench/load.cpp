// parley_bench_load: sends chat completions to a gateway and prints one JSON line about what came back.
// Closed loop (a fixed number of requests under way) or open loop (a constant rate, timed from when each request was
// due, so that a stall is counted in full). Checks every answer. One epoll loop on one thread owns every connection.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/common/http_reader.hpp"
#include "bench/common/load_report.hpp"
#include "bench/common/mark.hpp"
#include "bench/common/sockets.hpp"

namespace parley::bench {
namespace {

constexpr std::size_t kReadBytes = std::size_t{256} * 1024;
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

struct Options {
    std::string host = "127.0.0.1";
    std::uint16_t port = 9001;
    std::string path = "/v1/chat/completions";
    std::string body_file;
    std::vector<std::string> headers;
    std::uint32_t connections = 32;
    double rate = 0; // requests per second; 0: closed loop
    double duration_s = 2;
    std::uint64_t requests_max = 0; // 0: no limit but the duration
    double ramp_s = 0;              // closed loop: time over which the connections start
    double drain_s = 10;            // after the duration, for answers under way
    bool stream = false;
    std::uint32_t events = 50;  // marks that a stream must carry
    std::uint64_t sessions = 0; // conversations that the requests name in turn; 0: none
};

// The header that names a conversation; its digits are written anew for each request.
constexpr std::string_view kSessionHeader = "X-Session-Id: bench-000000000000";
constexpr std::size_t kSessionDigits = 12;

enum class Phase { kClosed, kConnecting, kIdle, kBusy };

struct Connection {
    int fd = -1;
    Phase phase = Phase::kClosed;
    bool waits_for_room = false;
    HttpReader reader{HttpReader::Kind::kResponse};
    MarkScanner scanner;
    std::size_t sent_bytes = 0;
    std::uint32_t marks = 0;
    std::uint64_t session = 0;
    std::uint64_t start_ns = 0; // when the request was due (open loop) or sent (closed loop)
    std::string refusal;        // first bytes of the body of an answer that is not 200
};

class LoadGenerator {
public:
    LoadGenerator(Options const& options, std::string request)
        : options_(options),
          address_(ipv4_address(options.host, options.port)),
          request_(std::move(request)),
          input_(kReadBytes),
          connections_(options.connections),
          marks_expected_(options.stream ? options.events : 1),
          session_at_(request_.find(kSessionHeader) + kSessionHeader.size() - kSessionDigits) {}

    LoadReport run() {
        connect_all();
        begin_ns_ = now_ns();
        std::uint64_t const end_ns = begin_ns_ + to_ns(options_.duration_s);
        std::uint64_t last_ns = begin_ns_;
        for (;;) {
            std::uint64_t const now = now_ns();
            accepting_ = now < end_ns && may_start();
            if (accepting_) start_due(now);
            if (!accepting_ && busy_ == 0 && backlog_.empty()) break;
            if (now > end_ns + to_ns(options_.drain_s)) {
                give_up();
                break;
            }
            std::uint64_t until_ns = accepting_ ? end_ns : end_ns + to_ns(options_.drain_s);
            if (accepting_ && next_start_ns() != 0) until_ns = std::min(until_ns, next_start_ns());
            epoll_.wait(until_ns, [this](std::uint32_t id, std::uint32_t events) { on_ready(id, events); });
            last_ns = std::max(last_ns, last_answer_ns_);
        }
        report_.elapsed_s = static_cast<double>(last_ns - begin_ns_) / static_cast<double>(kNsPerSecond);
        return report_;
    }

private:
    [[nodiscard]] bool open_loop() const { return options_.rate > 0; }
    static std::uint64_t to_ns(double seconds) {
        return static_cast<std::uint64_t>(seconds * static_cast<double>(kNsPerSecond));
    }

    // --- connections

    void connect_all() {
        for (std::uint32_t id = 0; id < connections_.size(); ++id)
            connect(id);
        std::uint64_t const deadline_ns = now_ns() + 10 * kNsPerSecond;
        while (idle_.size() < connections_.size()) {
            if (now_ns() > deadline_ns || report_.fault_count() > 0) {
                errno = 0;
                die("cannot open " + std::to_string(connections_.size()) + " connections to port " +
                    std::to_string(options_.port) + ": " + report_.first_fault);
            }
            epoll_.wait(deadline_ns, [this](std::uint32_t id, std::uint32_t events) { on_ready(id, events); });
        }
        std::reverse(idle_.begin(), idle_.end());
    }

    void connect(std::uint32_t id) {
        Connection& connection = connections_[id];
        connection.fd = connect_to(address_);
        if (connection.fd < 0) return report_.add_fault(Fault::kConnect, error_text(errno));
        connection.phase = Phase::kConnecting;
        connection.waits_for_room = true;
        epoll_.add(connection.fd, EPOLLIN | EPOLLOUT, id);
    }

    void connected(std::uint32_t id, Connection& connection) {
        int error = 0;
        socklen_t size = sizeof error;
        ::getsockopt(connection.fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) {
            ::close(connection.fd);
            connection.phase = Phase::kClosed;
            return report_.add_fault(Fault::kConnect, error_text(error));
        }
        ++report_.connections_opened;
        want_room(id, connection, false);
        become_free(id);
    }

    // Closes; `again` opens the connection anew, so that the number under way stays what was asked for.
    void drop(std::uint32_t id, Connection& connection, bool again) {
        if (connection.phase == Phase::kBusy) --busy_;
        std::erase(idle_, id);
        ::close(connection.fd);
        connection.phase = Phase::kClosed;
        connection.reader.reset();
        if (again) connect(id);
    }

    void want_room(std::uint32_t id, Connection& connection, bool wanted) {
        if (connection.waits_for_room == wanted) return;
        connection.waits_for_room = wanted;
        epoll_.change(connection.fd, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, id);
    }

    // --- when to send

    [[nodiscard]] bool may_start() const { return options_.requests_max == 0 || started_ < options_.requests_max; }

    // When the next request is due by the clock; 0 if the next one only waits for an answer.
    [[nodiscard]] std::uint64_t next_start_ns() const {
        if (open_loop()) return begin_ns_ + to_ns(static_cast<double>(due_) / options_.rate);
        if (due_ >= options_.connections) return 0;
        return begin_ns_ + to_ns(options_.ramp_s * static_cast<double>(due_) / options_.connections);
    }

    void start_due(std::uint64_t now) {
        while (may_start() && next_start_ns() != 0 && next_start_ns() <= now) {
            std::uint64_t const due_ns = next_start_ns();
            ++due_;
            dispatch(open_loop() ? due_ns : now);
        }
    }

    void dispatch(std::uint64_t start_ns) {
        ++started_;
        if (idle_.empty()) {
            backlog_.push_back(start_ns);
            report_.backlog_max = std::max<std::uint64_t>(report_.backlog_max, backlog_.size());
            return;
        }
        std::uint32_t const id = idle_.back();
        idle_.pop_back();
        begin_request(id, start_ns);
    }

    void become_free(std::uint32_t id) {
        connections_[id].phase = Phase::kIdle;
        if (!backlog_.empty()) {
            std::uint64_t const start_ns = backlog_.front();
            backlog_.pop_front();
            return begin_request(id, start_ns);
        }
        if (!open_loop() && accepting_ && may_start() && due_ >= options_.connections) {
            ++started_;
            return begin_request(id, now_ns());
        }
        idle_.push_back(id);
    }

    // --- one request

    void begin_request(std::uint32_t id, std::uint64_t start_ns) {
        Connection& connection = connections_[id];
        connection.phase = Phase::kBusy;
        connection.start_ns = start_ns;
        if (options_.sessions != 0) connection.session = next_session_++ % options_.sessions;
        connection.sent_bytes = 0;
        connection.marks = 0;
        connection.reader.reset();
        connection.scanner.reset();
        connection.refusal.clear();
        ++busy_;
        if (open_loop()) report_.send_lag.add(static_cast<std::int64_t>(now_ns() - start_ns));
        send(id, connection);
    }

    void send(std::uint32_t id, Connection& connection) {
        if (options_.sessions != 0) name_session(connection.session);
        std::string_view const rest = std::string_view(request_).substr(connection.sent_bytes);
        ssize_t const sent = ::send(connection.fd, rest.data(), rest.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) return fail(id, connection, Fault::kClosed, "send failed");
        if (sent > 0) connection.sent_bytes += static_cast<std::size_t>(sent);
        want_room(id, connection, connection.sent_bytes < request_.size());
    }

    void name_session(std::uint64_t session) {
        for (std::size_t at = session_at_ + kSessionDigits; at > session_at_; session /= 10)
            request_[--at] = static_cast<char>('0' + session % 10);
    }

    void on_ready(std::uint32_t id, std::uint32_t events) {
        Connection& connection = connections_[id];
        if (connection.phase == Phase::kClosed) return;
        if (connection.phase == Phase::kConnecting) return connected(id, connection);
        if ((events & EPOLLOUT) != 0 && connection.phase == Phase::kBusy) send(id, connection);
        if (connection.phase == Phase::kClosed || (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
        receive(id, connection);
    }

    void receive(std::uint32_t id, Connection& connection) {
        ssize_t const got = ::recv(connection.fd, input_.data(), input_.size(), 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (connection.phase == Phase::kIdle) return drop(id, connection, true); // the peer ended an idle connection
        if (got <= 0) return fail(id, connection, Fault::kClosed, "the connection ended before the answer did");
        std::uint64_t const now = now_ns();
        std::string_view bytes(input_.data(), static_cast<std::size_t>(got));
        bytes.remove_prefix(
            connection.reader.feed(bytes, [&](std::string_view piece) { read_body(connection, piece, now); }));
        if (connection.reader.failed()) return fail(id, connection, Fault::kFraming, connection.reader.first_line());
        if (!connection.reader.complete()) return;
        if (!bytes.empty()) return fail(id, connection, Fault::kFraming, "bytes after the end of the answer");
        finish(id, connection, now);
    }

    void read_body(Connection& connection, std::string_view piece, std::uint64_t now) {
        if (connection.reader.status() != 200) {
            connection.refusal.append(piece.substr(0, 300));
            return;
        }
        connection.scanner.feed(piece, [&](std::uint64_t sent_ns) {
            if (connection.marks == 0) report_.first_event.add(static_cast<std::int64_t>(now - connection.start_ns));
            report_.event_delay.add(static_cast<std::int64_t>(now - sent_ns));
            ++connection.marks;
        });
    }

    void finish(std::uint32_t id, Connection& connection, std::uint64_t now) {
        if (as_expected(connection)) {
            ++report_.requests;
            report_.marks += connection.marks;
            report_.latency.add(static_cast<std::int64_t>(now - connection.start_ns));
        }
        last_answer_ns_ = now;
        if (!connection.reader.keep_alive()) return drop(id, connection, true);
        --busy_;
        become_free(id);
    }

    bool as_expected(Connection const& connection) {
        if (connection.reader.status() != 200) {
            report_.add_fault(Fault::kStatus, std::string(connection.reader.first_line()) + ": " + connection.refusal);
        } else if (connection.marks != marks_expected_) {
            report_.add_fault(Fault::kMarks, std::to_string(connection.marks) + " content events arrived, " +
                                                 std::to_string(marks_expected_) + " were expected");
        } else if (options_.stream && !connection.scanner.ended_with_done()) {
            report_.add_fault(Fault::kNoDone, "the stream did not end with data: [DONE]");
        } else {
            return true;
        }
        return false;
    }

    void fail(std::uint32_t id, Connection& connection, Fault fault, std::string_view words) {
        report_.add_fault(fault, words);
        drop(id, connection, true);
    }

    void give_up() {
        for (std::size_t i = 0; i < busy_ + backlog_.size(); ++i)
            report_.add_fault(Fault::kTimeout, "no complete answer within the drain time");
    }

    Options options_;
    sockaddr_in address_;
    std::string request_;
    std::vector<char> input_;
    std::vector<Connection> connections_;
    std::uint32_t marks_expected_;
    Epoll epoll_;
    std::vector<std::uint32_t> idle_;
    std::deque<std::uint64_t> backlog_; // due times of requests that wait for a connection
    bool accepting_ = false;
    std::uint64_t begin_ns_ = 0;
    std::uint64_t last_answer_ns_ = 0;
    std::uint64_t due_ = 0;     // requests whose start the clock decides, so far
    std::uint64_t started_ = 0; // all requests, so far
    std::size_t session_at_;    // of its digits in the request
    std::uint64_t next_session_ = 0;
    std::size_t busy_ = 0;
    LoadReport report_;
};

std::string read_file(std::string const& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) die("cannot read " + path);
    std::ostringstream text;
    text << file.rdbuf();
    return std::move(text).str();
}

std::string make_request(Options const& options) {
    std::string const body = read_file(options.body_file);
    std::string request = "POST " + options.path + " HTTP/1.1\r\nHost: " + options.host + ":" +
                          std::to_string(options.port) + "\r\nContent-Type: application/json\r\n";
    for (std::string const& header : options.headers)
        request += header + "\r\n";
    if (options.sessions != 0) request.append(kSessionHeader).append("\r\n");
    return request + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

} // namespace
} // namespace parley::bench

int main(int argc, char** argv) {
    using namespace parley::bench;
    CLI::App app{"Load generator for Parley's benchmarks; prints one JSON line, exits 0 if there was no error"};
    Options options;
    app.add_option("--host", options.host, "IPv4 address of the gateway")->capture_default_str();
    app.add_option("--port", options.port, "Port of the gateway")->capture_default_str();
    app.add_option("--path", options.path, "Request target")->capture_default_str();
    app.add_option("--body", options.body_file, "File with the request body")->required();
    app.add_option("--header", options.headers, "A header line, 'Name: value'; may be given again")
        ->allow_extra_args(false);
    app.add_option("-c,--connections", options.connections, "Connections")
        ->check(CLI::Range(1, 20'000))
        ->capture_default_str();
    app.add_option("--rate", options.rate, "Requests per second (open loop); 0: closed loop")->capture_default_str();
    app.add_option("--duration-s", options.duration_s, "Time during which requests start")->capture_default_str();
    app.add_option("--requests", options.requests_max, "Start no more than this; 0: no limit")->capture_default_str();
    app.add_option("--ramp-s", options.ramp_s, "Closed loop: time over which the connections start")
        ->capture_default_str();
    app.add_option("--drain-s", options.drain_s, "Time for answers under way at the end")->capture_default_str();
    app.add_flag("--stream", options.stream, "Expect a stream that ends with [DONE]");
    app.add_option("--events", options.events, "Content events that every stream must carry")->capture_default_str();
    app.add_option("--sessions", options.sessions, "Conversations that the requests name in turn; 0: none")
        ->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    prepare_process();
    LoadReport report = LoadGenerator(options, make_request(options)).run();
    report.cpu_s = process_cpu_s();
    std::printf("%s\n", report.json().c_str());
    return report.fault_count() == 0 ? 0 : 1;
}

// parley_bench_load: sends chat completions to a gateway and prints one JSON line about what came back.
// Closed loop (a fixed number of requests under way) or open loop (a constant rate, timed from when each request was
// due, so that a stall is counted in full). Checks every answer. A client may also leave in the middle of one, or read
// nothing of it. One epoll loop on one thread owns every connection.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/common/answer_check.hpp"
#include "bench/common/load_connection.hpp"
#include "bench/common/load_options.hpp"
#include "bench/common/load_report.hpp"
#include "bench/common/sockets.hpp"

namespace parley::bench {
namespace {

constexpr std::size_t kReadBytes = std::size_t{256} * 1024;
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
constexpr std::size_t kConnectsAtOnce = 256; // fewer than any server's backlog: a lost SYN costs a second
constexpr int kStalledReceiveBytes = 4096;   // what a client that reads nothing still takes

using Connection = LoadConnection;
using Phase = LoadConnection::Phase;

// When a client leaves its request, should it still be under way.
struct Leave {
    std::uint64_t due_ns;
    std::uint64_t number;
    std::uint32_t id;
};

class LoadGenerator {
public:
    explicit LoadGenerator(LoadOptions const& options)
        : options_(options),
          address_(ipv4_address(options.host, options.port)),
          request_(options),
          input_(kReadBytes),
          connections_(options.connections),
          check_(options_, report_) {}

    LoadReport run() {
        connect_all();
        std::this_thread::sleep_for(std::chrono::duration<double>(options_.settle_s));
        begin_ns_ = now_ns();
        end_ns_ = begin_ns_ + to_ns(options_.duration_s);
        if (options_.progress_s > 0) progress_ns_ = begin_ns_;
        std::uint64_t const drained_ns = end_ns_ + to_ns(options_.drain_s);
        for (;;) {
            std::uint64_t const now = now_ns();
            if (now >= progress_ns_) print_progress(now);
            leave_due(now);
            accepting_ = now < end_ns_ && may_start();
            if (accepting_) start_due(now);
            if (now >= end_ns_ && options_.stall) leave_all();
            if (now >= end_ns_ && options_.drop_backlog) drop_backlog();
            if (!accepting_ && busy_ == 0 && backlog_.empty()) break;
            if (now > drained_ns) {
                give_up();
                break;
            }
            epoll_.wait(next_ns(drained_ns), [this](std::uint32_t id, std::uint32_t events) { on_ready(id, events); });
        }
        report_.elapsed_s = seconds_since_begin(std::max(begin_ns_, last_answer_ns_));
        return report_;
    }

private:
    static constexpr std::uint64_t kNever = UINT64_MAX;
    static std::uint64_t to_ns(double seconds) {
        return static_cast<std::uint64_t>(seconds * static_cast<double>(kNsPerSecond));
    }
    [[nodiscard]] double seconds_since_begin(std::uint64_t time_ns) const {
        return static_cast<double>(time_ns - begin_ns_) / static_cast<double>(kNsPerSecond);
    }

    // When there is something to do, should nothing arrive.
    [[nodiscard]] std::uint64_t next_ns(std::uint64_t drained_ns) const {
        std::uint64_t until_ns = std::min(progress_ns_, accepting_ || options_.stall ? end_ns_ : drained_ns);
        if (accepting_ && next_start_ns() != 0) until_ns = std::min(until_ns, next_start_ns());
        if (!leaves_.empty()) until_ns = std::min(until_ns, leaves_.front().due_ns);
        return until_ns;
    }

    void print_progress(std::uint64_t now) {
        progress_ns_ += to_ns(options_.progress_s);
        std::printf("{\"progress_s\":%.3f,\"done\":%llu}\n", seconds_since_begin(now),
                    static_cast<unsigned long long>(report_.requests + report_.refused + report_.aborted));
        std::fflush(stdout);
    }

    // --- connections

    void connect_all() {
        std::uint64_t const deadline_ns = now_ns() + 20 * kNsPerSecond;
        std::size_t begun = 0;
        while (idle_.size() < connections_.size()) {
            for (; begun < connections_.size() && begun < idle_.size() + kConnectsAtOnce; ++begun)
                connect(static_cast<std::uint32_t>(begun));
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
        ConnectOptions const how = {.source = options_.sources == 0 ? 0 : 1 + id % options_.sources,
                                    .receive_bytes_max = options_.stall ? kStalledReceiveBytes : 0};
        connection.fd = connect_to(address_, how);
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
        if (connection.phase == Phase::kIdle) std::erase(idle_, id);
        ::close(connection.fd);
        connection.phase = Phase::kClosed;
        connection.reader.reset();
        if (again) connect(id);
    }

    void want_room(std::uint32_t id, Connection& connection, bool wanted) {
        if (connection.waits_for_room == wanted) return;
        connection.waits_for_room = wanted;
        std::uint32_t const reads = options_.stall ? 0 : EPOLLIN;
        epoll_.change(connection.fd, wanted ? reads | EPOLLOUT : reads, id);
    }

    // --- when to send

    [[nodiscard]] bool may_start() const { return options_.requests_max == 0 || started_ < options_.requests_max; }

    // When the next request is due by the clock; 0 if the next one only waits for an answer.
    [[nodiscard]] std::uint64_t next_start_ns() const {
        if (options_.open_loop()) return begin_ns_ + to_ns(static_cast<double>(due_) / options_.rate);
        if (due_ >= options_.connections) return 0;
        return begin_ns_ + to_ns(options_.ramp_s * static_cast<double>(due_) / options_.connections);
    }

    void start_due(std::uint64_t now) {
        while (may_start() && next_start_ns() != 0 && next_start_ns() <= now) {
            std::uint64_t const due_ns = next_start_ns();
            ++due_;
            if (options_.open_loop()) report_.send_lag.add(static_cast<std::int64_t>(now - due_ns));
            dispatch(options_.open_loop() ? due_ns : now);
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
        if (!options_.open_loop() && accepting_ && may_start() && due_ >= options_.connections) {
            ++started_;
            return begin_request(id, now_ns());
        }
        idle_.push_back(id);
    }

    void drop_backlog() {
        report_.unsent += backlog_.size();
        backlog_.clear();
    }

    // --- one request

    void begin_request(std::uint32_t id, std::uint64_t start_ns) {
        Connection& connection = connections_[id];
        connection.phase = Phase::kBusy;
        connection.start_ns = start_ns;
        connection.sent_ns = now_ns();
        connection.number = next_number_++;
        connection.leaving = false;
        connection.sent_bytes = 0;
        connection.marks = 0;
        connection.reader.reset();
        connection.scanner.reset();
        connection.refusal.clear();
        ++busy_;
        if (options_.leave_after_ms > 0)
            leaves_.push_back({connection.sent_ns + to_ns(options_.leave_after_ms / 1000), connection.number, id});
        send(id, connection);
    }

    void send(std::uint32_t id, Connection& connection) {
        std::uint64_t const session = options_.sessions == 0 ? 0 : connection.number % options_.sessions;
        std::string_view const rest = request_.of(session, connection.number).substr(connection.sent_bytes);
        ssize_t const sent = ::send(connection.fd, rest.data(), rest.size(), MSG_NOSIGNAL);
        // A server may refuse and close before it has read all: what it said is still to be read.
        if (sent < 0 && errno != EAGAIN && errno != EINTR) return receive(id, connection);
        if (sent > 0) connection.sent_bytes += static_cast<std::size_t>(sent);
        want_room(id, connection, connection.sent_bytes < request_.size());
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
        if (connection.leaving) return leave(id, connection);
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
            if (in_window(now)) report_.event_delay.add(static_cast<std::int64_t>(now - sent_ns));
            if (++connection.marks == options_.leave_after_events) connection.leaving = true;
        });
    }

    [[nodiscard]] bool in_window(std::uint64_t now) const {
        return now >= begin_ns_ + to_ns(options_.window_from_s) &&
               (options_.window_to_s <= 0 || now < begin_ns_ + to_ns(options_.window_to_s));
    }

    void finish(std::uint32_t id, Connection& connection, std::uint64_t now) {
        check_.whole(connection, now, now < end_ns_);
        last_answer_ns_ = now;
        // What was refused before all of it was sent: the rest would be read as the next request.
        bool const whole = connection.sent_bytes == request_.size();
        if (!connection.reader.keep_alive() || !whole) return drop(id, connection, true);
        --busy_;
        become_free(id);
    }

    void fail(std::uint32_t id, Connection& connection, Fault fault, std::string_view words) {
        report_.add_fault(fault, words);
        check_.cut(connection);
        drop(id, connection, true);
    }

    void give_up() {
        for (std::size_t i = 0; i < busy_ + backlog_.size(); ++i)
            report_.add_fault(Fault::kTimeout, "no complete answer within the drain time");
        for (Connection const& connection : connections_) {
            if (connection.phase == Phase::kBusy) check_.cut(connection);
        }
    }

    // --- clients that leave

    void leave(std::uint32_t id, Connection& connection) {
        check_.left(connection);
        last_answer_ns_ = now_ns();
        drop(id, connection, true);
    }

    void leave_due(std::uint64_t now) {
        for (; !leaves_.empty() && leaves_.front().due_ns <= now; leaves_.pop_front()) {
            Leave const due = leaves_.front();
            Connection& connection = connections_[due.id];
            if (connection.phase == Phase::kBusy && connection.number == due.number) leave(due.id, connection);
        }
    }

    // Of clients that read nothing: only the status is looked at.
    void leave_all() {
        for (std::uint32_t id = 0; id < connections_.size(); ++id) {
            Connection& connection = connections_[id];
            if (connection.phase != Phase::kBusy) continue;
            ssize_t const got = ::recv(connection.fd, input_.data(), input_.size(), 0);
            std::string_view const answer(input_.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
            if (answer.starts_with("HTTP/1.1 200 ")) {
                ++report_.aborted;
            } else {
                report_.add_fault(Fault::kStatus, "a client that reads nothing was sent: '" +
                                                      std::string(answer.substr(0, answer.find('\r'))) + "'");
            }
            drop(id, connection, false);
        }
        last_answer_ns_ = now_ns();
    }

    LoadOptions options_;
    sockaddr_in address_;
    RequestText request_;
    std::vector<char> input_;
    std::vector<Connection> connections_;
    Epoll epoll_;
    std::vector<std::uint32_t> idle_;
    std::deque<std::uint64_t> backlog_; // due times of requests that wait for a connection
    bool accepting_ = false;
    std::deque<Leave> leaves_; // in the order of their times
    std::uint64_t begin_ns_ = 0;
    std::uint64_t end_ns_ = 0; // of the duration
    std::uint64_t progress_ns_ = kNever;
    std::uint64_t last_answer_ns_ = 0;
    std::uint64_t due_ = 0;     // requests whose start the clock decides, so far
    std::uint64_t started_ = 0; // all requests, so far
    std::uint64_t next_number_ = 0;
    std::size_t busy_ = 0;
    LoadReport report_;
    AnswerCheck check_;
};

} // namespace
} // namespace parley::bench

int main(int argc, char** argv) {
    using namespace parley::bench;
    CLI::App app{"Load generator for Parley's benchmarks; prints one JSON line, exits 0 if there was no error"};
    LoadOptions options;
    add_options(app, options);
    CLI11_PARSE(app, argc, argv);
    prepare_process();
    LoadReport report = LoadGenerator(options).run();
    report.cpu_s = process_cpu_s();
    std::printf("%s\n", report.json().c_str());
    return report.fault_count() == 0 ? 0 : 1;
}

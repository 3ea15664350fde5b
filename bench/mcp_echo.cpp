// parley_bench_mcp_echo: an MCP server with one tool that costs next to nothing, over stdio or Streamable HTTP, and a
// client that times calls to it: what a tool call costs without a gateway. Legacy era (2025-11-25), no sessions.
// One thread; requests come one line or one body at a time from a known peer, so it is quick, not a safe gate.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/common/histogram.hpp"
#include "bench/common/http_reader.hpp"
#include "bench/common/sockets.hpp"

namespace parley::bench {
namespace {

constexpr std::size_t kReadBytes = std::size_t{64} * 1024;
constexpr std::string_view kInitialized =
    R"("result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"echo","version":"1"}})";
constexpr std::string_view kTools =
    R"("result":{"tools":[{"name":"echo","description":"Says what it is told.","inputSchema":{"type":"object",)"
    R"("properties":{"text":{"type":"string"}},"required":["text"]}}]})";
constexpr std::string_view kEchoed = R"("result":{"content":[{"type":"text","text":"pong"}]})";
constexpr std::string_view kUnknown = R"("error":{"code":-32601,"message":"Method not found"})";
constexpr std::string_view kCall =
    R"({"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"text":"ping"}}})";

// The raw value of a member of the outermost object; empty if it is not there.
std::string_view member(std::string_view json, std::string_view name) {
    int depth = 0;
    for (std::size_t at = 0; at < json.size(); ++at) {
        char const c = json[at];
        if (c == '{' || c == '[') ++depth;
        if (c == '}' || c == ']') --depth;
        if (c != '"') continue;
        std::size_t end = at + 1;
        while (end < json.size() && json[end] != '"')
            end += json[end] == '\\' ? 2 : 1;
        bool const is_name = depth == 1 && end < json.size() && json.substr(at + 1, end - at - 1) == name;
        std::size_t const colon = json.find_first_not_of(" \t\r\n", std::min(end + 1, json.size()));
        if (is_name && colon != std::string_view::npos && json[colon] == ':') {
            std::size_t const value = json.find_first_not_of(" \t\r\n", colon + 1);
            if (value == std::string_view::npos) return {};
            std::size_t const stop =
                json[value] == '"' ? json.find('"', value + 1) + 1 : json.find_first_of(",} \t\r\n", value);
            return json.substr(value, stop - value);
        }
        at = end;
    }
    return {};
}

// The answer to one message, empty for a notification.
std::string answer_to(std::string_view message) {
    std::string_view const id = member(message, "id");
    if (id.empty()) return {};
    std::string_view const method = member(message, "method");
    std::string_view body = kUnknown;
    if (method == R"("initialize")") body = kInitialized;
    if (method == R"("tools/list")") body = kTools;
    if (method == R"("tools/call")") body = kEchoed;
    if (method == R"("ping")") body = R"("result":{})";
    return std::string(R"({"jsonrpc":"2.0","id":)").append(id).append(",").append(body).append("}");
}

void write_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        ssize_t const written = ::write(fd, bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) ::_exit(0); // the peer has gone
        bytes.remove_prefix(static_cast<std::size_t>(written));
    }
}

// Reads lines until the other side closes.
class LineReader {
public:
    explicit LineReader(int fd) : fd_(fd), input_(kReadBytes) {}

    // The next line without its end; false at the end of input. Valid until the next call.
    bool next(std::string& line) {
        for (;;) {
            std::size_t const end = kept_.find('\n');
            if (end != std::string::npos) {
                line.assign(kept_, 0, end);
                kept_.erase(0, end + 1);
                return true;
            }
            ssize_t const got = ::read(fd_, input_.data(), input_.size());
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) return false;
            kept_.append(input_.data(), static_cast<std::size_t>(got));
        }
    }

private:
    int fd_;
    std::vector<char> input_;
    std::string kept_;
};

void serve_stdio() {
    LineReader reader(STDIN_FILENO);
    std::string line;
    while (reader.next(line)) {
        std::string answer = answer_to(line);
        if (!answer.empty()) write_all(STDOUT_FILENO, answer += '\n');
    }
}

std::string http_answer(std::string_view first_line, std::string_view body) {
    if (!first_line.starts_with("POST ")) {
        bool const is_probe = first_line.starts_with("GET /health");
        return is_probe ? "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
                        : "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n";
    }
    std::string const answer = answer_to(body);
    if (answer.empty()) return "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
    std::string_view const status = answer.find(kUnknown) == std::string::npos ? "200 OK" : "400 Bad Request";
    return std::string("HTTP/1.1 ")
        .append(status)
        .append("\r\nContent-Type: application/json\r\nContent-Length: ")
        .append(std::to_string(answer.size()))
        .append("\r\n\r\n")
        .append(answer);
}

class HttpServer {
public:
    explicit HttpServer(std::uint16_t port)
        : listener_(listen_on(ipv4_address("127.0.0.1", port))), input_(kReadBytes) {
        epoll_.add(listener_, EPOLLIN, static_cast<std::uint32_t>(listener_));
    }

    [[noreturn]] void run() {
        for (;;)
            epoll_.wait(0, [this](std::uint32_t fd, std::uint32_t) { on_ready(static_cast<int>(fd)); });
    }

private:
    struct Connection {
        HttpReader reader{HttpReader::Kind::kRequest};
        std::string body;
    };

    void on_ready(int fd) {
        if (fd == listener_) return accept_all();
        Connection& connection = *connections_[static_cast<std::size_t>(fd)];
        ssize_t const got = ::recv(fd, input_.data(), input_.size(), 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (got <= 0) return close(fd);
        std::string_view bytes(input_.data(), static_cast<std::size_t>(got));
        while (!bytes.empty()) {
            bytes.remove_prefix(
                connection.reader.feed(bytes, [&](std::string_view piece) { connection.body.append(piece); }));
            if (connection.reader.failed()) return close(fd);
            if (!connection.reader.complete()) return;
            write_all(fd, http_answer(connection.reader.first_line(), connection.body));
            connection.reader.reset();
            connection.body.clear();
        }
    }

    void accept_all() {
        int const fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) return;
        set_no_delay(fd);
        auto const id = static_cast<std::size_t>(fd);
        if (connections_.size() <= id) connections_.resize(id + 1);
        connections_[id] = std::make_unique<Connection>();
        epoll_.add(fd, EPOLLIN, static_cast<std::uint32_t>(fd));
    }

    void close(int fd) {
        ::close(fd);
        connections_[static_cast<std::size_t>(fd)].reset();
    }

    Epoll epoll_;
    int listener_;
    std::vector<std::unique_ptr<Connection>> connections_; // by descriptor
    std::vector<char> input_;
};

// --- the client: one call after the other, as a single agent would

struct Timing {
    Histogram latency;
    void print() const {
        std::printf(R"({"calls": %llu, "p50_us": %.2f, "p99_us": %.2f})"
                    "\n",
                    static_cast<unsigned long long>(latency.count()), latency.quantile_us(0.5),
                    latency.quantile_us(0.99));
    }
};

template <typename Exchange>
Timing time_calls(int calls, Exchange exchange) {
    Timing timing;
    for (int warm = 0; warm < calls / 10 + 1; ++warm)
        exchange();
    for (int call = 0; call < calls; ++call) {
        std::uint64_t const begin = now_ns();
        exchange();
        timing.latency.add(static_cast<std::int64_t>(now_ns() - begin));
    }
    return timing;
}

Timing time_stdio(std::string const& program, int core, int calls) {
    std::array<int, 2> to{};
    std::array<int, 2> from{};
    if (::pipe(to.data()) != 0 || ::pipe(from.data()) != 0) die("pipe");
    pid_t const child = ::fork();
    if (child < 0) die("fork");
    if (child == 0) {
        if (core >= 0) {
            cpu_set_t cores{};
            CPU_SET(core, &cores);
            ::sched_setaffinity(0, sizeof cores, &cores);
        }
        ::dup2(to[0], STDIN_FILENO);
        ::dup2(from[1], STDOUT_FILENO);
        for (int const fd : {to[0], to[1], from[0], from[1]})
            ::close(fd);
        ::execl(program.c_str(), program.c_str(), "stdio", nullptr);
        die("cannot start " + program);
    }
    ::close(to[0]);
    ::close(from[1]);
    LineReader reader(from[0]);
    std::string const request = std::string(kCall) + "\n";
    std::string line;
    Timing const timing = time_calls(calls, [&] {
        write_all(to[1], request);
        if (!reader.next(line) || line.find("pong") == std::string::npos) die("the server did not answer");
    });
    ::close(to[1]);
    ::waitpid(child, nullptr, 0);
    return timing;
}

Timing time_http(std::uint16_t port, int calls) {
    sockaddr_in const address = ipv4_address("127.0.0.1", port);
    int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ::connect(fd, reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0) die("connect");
    set_no_delay(fd);
    std::string const request =
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        "Accept: application/json, text/event-stream\r\nContent-Length: " +
        std::to_string(kCall.size()) + "\r\n\r\n" + std::string(kCall);
    std::vector<char> input(kReadBytes);
    HttpReader reader(HttpReader::Kind::kResponse);
    Timing const timing = time_calls(calls, [&] {
        write_all(fd, request);
        reader.reset();
        while (!reader.complete()) {
            ssize_t const got = ::recv(fd, input.data(), input.size(), 0);
            if (got <= 0) die("the server closed");
            reader.feed({input.data(), static_cast<std::size_t>(got)}, [](std::string_view) {});
            if (reader.failed()) die("the server's answer is not HTTP");
        }
        if (reader.status() != 200) die("the server did not answer with 200");
    });
    ::close(fd);
    return timing;
}

} // namespace
} // namespace parley::bench

int main(int argc, char** argv) {
    using namespace parley::bench;
    CLI::App app{"Echo server of the Model Context Protocol for Parley's benchmarks, and a client that times it"};
    app.require_subcommand(1);
    std::uint16_t port = 9002;
    int calls = 2000;
    int core = -1;
    auto* stdio = app.add_subcommand("stdio", "Serve on standard input and output");
    auto* http = app.add_subcommand("http", "Serve Streamable HTTP on 127.0.0.1");
    http->add_option("--port", port, "Port to listen on")->capture_default_str();
    auto* time_child = app.add_subcommand("time-stdio", "Start a server as a child and time calls to it");
    time_child->add_option("--core", core, "Core for the child");
    auto* time_port = app.add_subcommand("time-http", "Time calls to a running server");
    time_port->add_option("--port", port, "Its port")->capture_default_str();
    for (auto* command : {time_child, time_port})
        command->add_option("--calls", calls, "Calls that are timed")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    prepare_process();
    if (stdio->parsed()) {
        serve_stdio();
    } else if (http->parsed()) {
        HttpServer server(port);
        std::printf("listening on 127.0.0.1:%u\n", static_cast<unsigned>(port));
        std::fflush(stdout);
        server.run();
    } else if (time_child->parsed()) {
        time_stdio("/proc/self/exe", core, calls).print();
    } else {
        time_http(port, calls).print();
    }
}

// The load generator's command line and its request, see load_options.hpp.
// Owned by the load generator.
// Runs on its single thread.
#include "bench/common/load_options.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include "bench/common/sockets.hpp"

namespace parley::bench {
namespace {

// The header that names a conversation; its digits are written anew for each request.
constexpr std::string_view kSessionHeader = "X-Session-Id: bench-";
constexpr std::size_t kDigits = 12;

std::string read_file(std::string const& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) die("cannot read " + path);
    std::ostringstream text;
    text << file.rdbuf();
    return std::move(text).str();
}

// Appends the field and returns where its digits are.
std::size_t append_numbered(std::string& text, std::string_view start) {
    text.append(start);
    std::size_t const at = text.size();
    text.append(kDigits, '0').append("\r\n");
    return at;
}

} // namespace

bool LoadOptions::is_refusal(int status) const {
    return std::ranges::find(refusals, status) != refusals.end();
}

void add_options(CLI::App& app, LoadOptions& options) {
    app.add_option("--host", options.host, "IPv4 address of the gateway")->capture_default_str();
    app.add_option("--port", options.port, "Port of the gateway")->capture_default_str();
    app.add_option("--path", options.path, "Request target")->capture_default_str();
    app.add_option("--body", options.body_file, "File with the request body")->required();
    app.add_option("--header", options.headers, "A header line, 'Name: value'; may be given again")
        ->allow_extra_args(false);
    app.add_option("--numbered-header", options.numbered_header, "A header line that ends in each request's number");
    app.add_option("-c,--connections", options.connections, "Connections")
        ->check(CLI::Range(1, 20'000))
        ->capture_default_str();
    app.add_option("--sources", options.sources, "Addresses to connect from, 127.0.0.2 and up; 0: the kernel's choice")
        ->check(CLI::Range(0, 250))
        ->capture_default_str();
    app.add_option("--rate", options.rate, "Requests per second (open loop); 0: closed loop")->capture_default_str();
    app.add_option("--settle-s", options.settle_s, "Wait before the first request, for the server to accept everybody")
        ->capture_default_str();
    app.add_option("--duration-s", options.duration_s, "Time during which requests start")->capture_default_str();
    app.add_option("--requests", options.requests_max, "Start no more than this; 0: no limit")->capture_default_str();
    app.add_option("--ramp-s", options.ramp_s, "Closed loop: time over which the connections start")
        ->capture_default_str();
    app.add_option("--drain-s", options.drain_s, "Time for answers under way at the end")->capture_default_str();
    app.add_flag("--drop-backlog", options.drop_backlog, "Open loop: never send what still waits at the end");
    app.add_option("--window-from-s", options.window_from_s, "Keep event delays from this time on")
        ->capture_default_str();
    app.add_option("--window-to-s", options.window_to_s, "Keep event delays until this time; 0: until the end")
        ->capture_default_str();
    app.add_flag("--stream", options.stream, "Expect a stream that ends with [DONE]");
    app.add_option("--events", options.events, "Content events that every stream must carry")->capture_default_str();
    app.add_option("--sessions", options.sessions, "Conversations that the requests name in turn; 0: none")
        ->capture_default_str();
    app.add_option("--refusals", options.refusals, "Statuses that are counted and no fault, such as 429,503")
        ->delimiter(',');
    app.add_option("--leave-after-events", options.leave_after_events, "Close the connection at this event")
        ->capture_default_str();
    app.add_option("--leave-after-ms", options.leave_after_ms, "Close the connection then, before the first event")
        ->capture_default_str();
    app.add_flag("--stall", options.stall, "Read nothing of the answers; close at the end of the duration");
    app.add_option("--progress-s", options.progress_s, "Print the count so far at the start and as often")
        ->capture_default_str();
}

RequestText::RequestText(LoadOptions const& options) {
    std::string const body = read_file(options.body_file);
    text_ = "POST " + options.path + " HTTP/1.1\r\nHost: " + options.host + ":" + std::to_string(options.port) +
            "\r\nContent-Type: application/json\r\n";
    for (std::string const& header : options.headers)
        text_.append(header).append("\r\n");
    if (options.sessions != 0) session_at_ = append_numbered(text_, kSessionHeader);
    if (!options.numbered_header.empty()) number_at_ = append_numbered(text_, options.numbered_header);
    text_.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n\r\n").append(body);
}

std::string_view RequestText::of(std::uint64_t session, std::uint64_t number) {
    if (session_at_ != 0) write_digits(session_at_, session);
    if (number_at_ != 0) write_digits(number_at_, number);
    return text_;
}

void RequestText::write_digits(std::size_t at, std::uint64_t value) {
    for (std::size_t i = kDigits; i > 0; value /= 10)
        text_[at + --i] = static_cast<char>('0' + value % 10);
}

} // namespace parley::bench

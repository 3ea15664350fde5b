// What the load generator is told on its command line, and the request that it sends.
// Owned by the load generator; constant once it runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace parley::bench {

struct LoadOptions {
    std::string host = "127.0.0.1";
    std::uint16_t port = 9001;
    std::string path = "/v1/chat/completions";
    std::string body_file;
    std::vector<std::string> headers;
    std::string numbered_header; // "Name: start"; each request appends a number of its own
    std::uint32_t connections = 32;
    std::uint32_t sources = 0; // addresses to connect from, 127.0.0.2 and up; 0: the kernel's choice
    double rate = 0;           // requests per second; 0: closed loop
    double settle_s = 0;       // between the last connection and the first request: the server accepts them
    double duration_s = 2;
    std::uint64_t requests_max = 0; // 0: no limit but the duration
    double ramp_s = 0;              // closed loop: time over which the connections start
    double drain_s = 10;            // after the duration, for answers under way
    bool drop_backlog = false;      // open loop: what waits for a connection at the end of the duration is never sent
    double window_from_s = 0;       // event delays are kept from here on, counted from the start
    double window_to_s = 0;         // and until here; 0: until the end
    bool stream = false;
    std::uint32_t events = 50;            // marks that a stream must carry
    std::uint64_t sessions = 0;           // conversations that the requests name in turn; 0: none
    std::vector<int> refusals;            // statuses that are an answer to count, not a fault
    std::uint32_t leave_after_events = 0; // the client closes at this mark; 0: it reads all
    double leave_after_ms = 0;            // the client closes then, and no mark may have come before; 0: it reads all
    bool stall = false;                   // the client reads nothing, and closes at the end of the duration
    double progress_s = 0;                // a line about the count so far, as often; 0: none

    [[nodiscard]] bool open_loop() const { return rate > 0; }
    [[nodiscard]] bool is_refusal(int status) const;
};

void add_options(CLI::App& app, LoadOptions& options);

// The bytes of every request, with the places of the digits that differ from one to the next.
class RequestText {
public:
    // Ends the tool if the body cannot be read.
    explicit RequestText(LoadOptions const& options);

    // The request of that conversation and number; valid until the next call.
    [[nodiscard]] std::string_view of(std::uint64_t session, std::uint64_t number);
    [[nodiscard]] std::size_t size() const { return text_.size(); }

private:
    void write_digits(std::size_t at, std::uint64_t value);

    std::string text_;
    std::size_t session_at_ = 0; // 0: no such field
    std::size_t number_at_ = 0;
};

} // namespace parley::bench

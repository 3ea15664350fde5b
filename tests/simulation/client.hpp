// One request as a client sends it, and the way back: what arrives is read as an SSE or JSON answer and held to the
// rules of an answer.
#pragma once

#include <memory>
#include <string>

#include "net/http_server.hpp"
#include "tests/simulation/ledger.hpp"

namespace parley::simulation {

/// What a client sends, and how it behaves.
struct Sending {
    std::string agent;
    std::string messages; // JSON array
    std::string api_key;
    std::string session = {};         // empty = not told
    std::string idempotency_key = {}; // likewise
    bool streams = true;
    int slow = 0; // milliseconds at most for each write; 0 = it reads at once
    std::optional<milliseconds> leaves_after = {};
    bool is_cut = false; // it is the server that stops then
    int timeout_s = 0;   // X-Stainless-Timeout; 0 = not told
};

/// What came back.
struct Answered {
    int status = 0; // 0 = nothing
    std::string body;
    bool is_whole = false;    // a complete answer, not an error
    std::string error = {};   // code
    std::string content = {}; // what the answer says
};

class ClientExchange final : public net::Exchange {
public:
    ClientExchange(net::Loop& loop, Ledger& ledger, Chance& chance, Request& request, int slow)
        : loop_(loop), ledger_(ledger), chance_(chance), request_(request), slow_(slow) {}

    net::Loop& loop() noexcept override { return loop_; }
    core::Cancellation& cancellation() noexcept override { return cancellation_; }
    bool client_gone() const noexcept override { return request_.left_at.has_value(); }
    void respond(net::Response response) override;
    void start_stream(net::Response head, std::string_view heartbeat) override;
    core::Awaitable<bool> write(std::string_view bytes) override;
    void finish() override;
    bool stream_started() const noexcept override { return state_ == State::kStream || state_ == State::kEnded; }

    void leave();
    void cut();

    /// When the handler has returned: reads what came, and checks that it is one answer with one end.
    Answered read_answer();
    milliseconds slowed() const noexcept { return slowed_; } // by this client, in all
    std::optional<milliseconds> told_end() const noexcept { return told_end_; }

private:
    enum class State : std::uint8_t { kNone, kWhole, kStream, kEnded };
    void read_stream(Answered& answered);
    void end(std::string_view how);

    net::Loop& loop_;
    Ledger& ledger_;
    Chance& chance_;
    Request& request_;
    int slow_;
    core::Cancellation cancellation_;
    State state_ = State::kNone;
    int status_ = 0;
    std::string body_;
    milliseconds slowed_{0};
    std::optional<milliseconds> told_end_;
};

/// The request's bytes, parsed by the gate of net/.
net::Request http_request(Sending const& sending, std::string const& request_id);

/// {"role":…,"content":…}
std::string message_json(std::string_view role, std::string_view content);

} // namespace parley::simulation

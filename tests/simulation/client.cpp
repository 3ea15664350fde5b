#include "tests/simulation/client.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "tests/simulation/wait.hpp"

namespace parley::simulation {
namespace {

std::size_t count_of(std::string_view text, std::string_view what) {
    std::size_t count = 0;
    for (std::size_t at = 0; (at = text.find(what, at)) != text.npos; at += what.size())
        ++count;
    return count;
}

// Nobody in the world says anything that JSON would escape.
std::string_view string_behind(std::string_view text, std::string_view name) {
    auto const at = text.find(name);
    if (at == text.npos) return {};
    auto const begin = at + name.size();
    return text.substr(begin, text.find('"', begin) - begin);
}

} // namespace

std::string message_json(std::string_view role, std::string_view content) {
    return fmt::format(R"({{"role":"{}","content":"{}"}})", role, content);
}

net::Request http_request(Sending const& sending, std::string const& request_id) {
    net::Request request;
    request.body = fmt::format(R"({{"model":"{}","messages":{},"stream":{},"max_completion_tokens":50}})",
                               sending.agent, sending.messages, sending.streams);
    request.body.reserve(request.body.size() + 64);
    auto& head = request.head_bytes;
    head = fmt::format(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        "authorization: Bearer {}\r\nx-request-id: {}\r\ncontent-length: {}\r\n",
        sending.api_key, request_id, request.body.size());
    if (!sending.session.empty()) head += "x-session-id: " + sending.session + "\r\n";
    if (!sending.idempotency_key.empty()) head += "idempotency-key: " + sending.idempotency_key + "\r\n";
    if (sending.timeout_s != 0) head += "x-stainless-timeout: " + std::to_string(sending.timeout_s) + "\r\n";
    head += "\r\n";
    (void)net::parse_request_head(head, {}, request.head);
    request.peer = "127.0.0.1:1";
    request.started = std::chrono::steady_clock::now();
    return request;
}

void ClientExchange::end(std::string_view how) {
    told_end_ = VirtualTime::now();
    ledger_.note(request_.id, "is told the end: {}", how);
}

void ClientExchange::respond(net::Response response) {
    if (client_gone()) return;
    ledger_.expect(state_ == State::kNone, "a second answer is sent", request_.id);
    state_ = State::kWhole;
    status_ = response.status;
    body_ = std::move(response.body);
    end(std::to_string(status_));
}

void ClientExchange::start_stream(net::Response head, std::string_view) {
    if (client_gone()) return;
    ledger_.expect(state_ == State::kNone, "a second answer is sent", request_.id);
    state_ = State::kStream;
    status_ = head.status;
}

core::Awaitable<bool> ClientExchange::write(std::string_view bytes) {
    if (client_gone()) co_return false;
    ledger_.expect(state_ == State::kStream, "something is sent outside of a stream", request_.id);
    body_ += bytes;
    if (slow_ == 0) co_return true;
    core::Cancellation none;
    core::Context const context{request_.cut_at ? none : cancellation_};
    auto const begun = VirtualTime::now();
    (void)co_await wait(context, chance_.ms(0, slow_));
    slowed_ += VirtualTime::now() - begun;
    co_return !client_gone();
}

void ClientExchange::finish() {
    if (client_gone()) return;
    ledger_.expect(state_ == State::kStream, "a stream ends that has not begun, or a second time", request_.id);
    state_ = State::kEnded;
    end("stream");
}

void ClientExchange::leave() {
    if (request_.stopped()) return;
    request_.left_at = VirtualTime::now();
    ledger_.note(request_.id, "leaves");
    cancellation_.cancel();
}

void ClientExchange::cut() {
    if (request_.stopped()) return;
    request_.cut_at = VirtualTime::now();
    ledger_.note(request_.id, "is cut");
    cancellation_.cancel();
}

Answered ClientExchange::read_answer() {
    Answered answered{status_, body_};
    if (client_gone()) return answered;
    ledger_.expect(state_ == State::kWhole || state_ == State::kEnded, "a request ends without an answer", request_.id);
    if (state_ == State::kEnded) {
        read_stream(answered);
    } else if (status_ == 200) {
        answered.content = string_behind(body_, R"("content":")");
        answered.is_whole = count_of(body_, R"("finish_reason":")") == 1;
        ledger_.expect(answered.is_whole, "a JSON answer without its end", request_.id);
    } else {
        answered.error = string_behind(body_, R"("code":")");
        ledger_.expect(!answered.error.empty(), "an error without its code", request_.id);
    }
    ledger_.expect(answered.error != "internal_error" && status_ != 500, "an internal error", request_.id);
    return answered;
}

void ClientExchange::read_stream(Answered& answered) {
    std::string_view rest = body_;
    int ends = 0;
    int finishes = 0;
    bool is_over = false;
    while (!rest.empty()) {
        auto const line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        if (!line.starts_with("data: ")) continue;
        ledger_.expect(!is_over, "something is sent behind the end of a stream", request_.id);
        auto const data = line.substr(6);
        if (data == "[DONE]") {
            is_over = true;
            ++ends;
        } else if (data.starts_with(R"({"error")")) {
            answered.error = string_behind(data, R"("code":")");
            ++ends;
        } else {
            answered.content += string_behind(data, R"("content":")");
            finishes += static_cast<int>(count_of(data, R"("finish_reason":")"));
        }
    }
    answered.is_whole = finishes == 1 && answered.error.empty();
    ledger_.expect(finishes + (answered.error.empty() ? 0 : 1) == 1, "a stream has not exactly one end", request_.id);
    ledger_.expect(ends >= 1, "a stream stops without [DONE] and without an error", request_.id);
}

} // namespace parley::simulation

// What the mock upstream answers, see answers.hpp. The JSON has the fields that OpenAI's API sends.
// Owned by the mock upstream.
// Runs on its single thread.
#include "bench/common/answers.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <utility>

#include "bench/common/mark.hpp"

namespace parley::bench {
namespace {

// Repeated to the length asked for. No character that JSON escapes, so that lengths stay what they are through a
// gateway.
constexpr std::string_view kFiller =
    " The gateway answers with text of a known length, so that every contender moves the same bytes.";

constexpr std::string_view kChunkStart =
    R"({"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"bench-model",)";
constexpr std::string_view kUsage = R"({"prompt_tokens":100,"completion_tokens":50,"total_tokens":150})";

std::string filler(std::size_t bytes) {
    std::string text;
    while (text.size() < bytes)
        text += kFiller;
    text.resize(bytes);
    return text;
}

std::string chunk(std::string_view data) {
    std::array<char, 24> size{};
    int const length = std::snprintf(size.data(), size.size(), "%zx\r\n", data.size());
    return std::string(size.data(), static_cast<std::size_t>(length)).append(data).append("\r\n");
}

std::string event(std::string_view json) {
    return std::string("data: ").append(json).append("\n\n");
}

std::string json_answer(std::string_view status, std::string_view body) {
    std::string answer = "HTTP/1.1 ";
    answer.append(status).append("\r\nContent-Type: application/json\r\nx-request-id: req_bench\r\nContent-Length: ");
    answer.append(std::to_string(body.size())).append("\r\n\r\n").append(body);
    return answer;
}

AnswerBook::Marked marked(std::string bytes) {
    std::size_t const offset = bytes.find(kMarkPlaceholder);
    return {std::move(bytes), offset};
}

bool asks_for_stream(std::string_view body) {
    constexpr std::string_view kKey = "\"stream\"";
    for (std::size_t at = body.find(kKey); at != std::string_view::npos; at = body.find(kKey, at + 1)) {
        std::string_view rest = body.substr(at + kKey.size());
        std::size_t const value = rest.find_first_not_of(" \t\r\n:");
        if (value != std::string_view::npos && rest.substr(value).starts_with("true")) return true;
    }
    return false;
}

std::uint32_t count_tool_results(std::string_view body) {
    constexpr std::string_view kResult = R"("role":"tool")";
    std::uint32_t count = 0;
    for (std::size_t at = body.find(kResult); at != std::string_view::npos; at = body.find(kResult, at + 1))
        ++count;
    return count;
}

void apply_setting(std::string_view setting, AnswerShape& shape) {
    std::array<std::pair<std::string_view, std::uint32_t*>, 6> const known = {{{"events", &shape.events},
                                                                               {"interval_ms", &shape.interval_ms},
                                                                               {"delay_ms", &shape.delay_ms},
                                                                               {"event_bytes", &shape.event_bytes},
                                                                               {"answer_bytes", &shape.answer_bytes},
                                                                               {"tool_rounds", &shape.tool_rounds}}};
    std::size_t const equals = setting.find('=');
    if (equals == std::string_view::npos) return;
    std::string_view const value = setting.substr(equals + 1);
    if (setting.substr(0, equals) == "tool") shape.tool = value;
    for (auto const& [name, target] : known) {
        if (setting.substr(0, equals) == name) std::from_chars(value.data(), value.data() + value.size(), *target);
    }
}

} // namespace

void BodyWindow::feed(std::string_view piece) {
    if (kept_.size() + piece.size() <= 2 * kWindowBytes) {
        kept_.append(piece);
        return;
    }
    if (kept_.size() < kWindowBytes) {
        std::size_t const head = std::min(kWindowBytes - kept_.size(), piece.size());
        kept_.append(piece.substr(0, head));
        piece.remove_prefix(head);
    }
    if (piece.size() > kWindowBytes) piece.remove_prefix(piece.size() - kWindowBytes);
    std::size_t const tail_bytes = kept_.size() - kWindowBytes;
    if (tail_bytes + piece.size() > kWindowBytes) kept_.erase(kWindowBytes, tail_bytes + piece.size() - kWindowBytes);
    kept_.append(piece);
}

AnswerShape shape_of(std::string_view body_window, AnswerShape const& defaults) {
    constexpr std::string_view kOpen = "[[mock ";
    AnswerShape shape = defaults;
    shape.stream = asks_for_stream(body_window);
    std::size_t const open = body_window.rfind(kOpen);
    if (open == std::string_view::npos) return shape;
    std::string_view directive = body_window.substr(open + kOpen.size());
    directive = directive.substr(0, directive.find("]]"));
    while (!directive.empty()) {
        std::size_t const space = directive.find(' ');
        apply_setting(directive.substr(0, space), shape);
        directive.remove_prefix(space == std::string_view::npos ? directive.size() : space + 1);
    }
    if (!shape.tool.empty()) shape.asks_for_tool = count_tool_results(body_window) < shape.tool_rounds;
    return shape;
}

AnswerBook::AnswerBook() {
    stream_start_ =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
        "x-request-id: req_bench\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream_start_ +=
        chunk(event(std::string(kChunkStart) + R"("choices":[{"index":0,"delta":{"role":"assistant","content":""},)"
                                               R"("logprobs":null,"finish_reason":null}],"usage":null})"));
    std::string const finish =
        event(std::string(kChunkStart) + R"("choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],)"
                                         R"("usage":null})");
    std::string const usage = event(std::string(kChunkStart).append(R"("choices":[],"usage":)").append(kUsage) + "}");
    stream_end_ = chunk(finish + usage + event("[DONE]")) + "0\r\n\r\n";
    models_ =
        json_answer("200 OK", R"({"object":"list","data":[{"id":"bench-model","object":"model","created":1700000000,)"
                              R"("owned_by":"bench"}]})");
    health_ = json_answer("200 OK", R"({"status":"ok"})");
    not_found_ = json_answer("404 Not Found", R"({"error":{"message":"The mock upstream has no such route.",)"
                                              R"("type":"invalid_request_error","param":null,"code":"not_found"}})");
}

AnswerBook::Marked const& AnswerBook::completion(std::uint32_t answer_bytes) {
    auto const found = completions_.find(answer_bytes);
    if (found != completions_.end()) return found->second;
    std::size_t const text_bytes = answer_bytes > kMarkBytes ? answer_bytes - kMarkBytes : 0;
    std::string body =
        R"({"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":"bench-model",)"
        R"("choices":[{"index":0,"message":{"role":"assistant","content":")";
    body.append(kMarkPlaceholder).append(filler(text_bytes));
    body.append(R"(","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":)");
    body.append(kUsage).append(R"(,"service_tier":"default","system_fingerprint":"fp_bench"})");
    return completions_.emplace(answer_bytes, marked(json_answer("200 OK", body))).first->second;
}

std::string const& AnswerBook::tool_call(std::string const& tool, bool stream) {
    std::string const key = (stream ? "*" : "") + tool;
    auto const found = tool_calls_.find(key);
    if (found != tool_calls_.end()) return found->second;
    std::string const call = R"("id":"call_bench","type":"function","function":{"name":")" + tool +
                             R"(","arguments":"{\"text\":\"ping\"}"}})";
    std::string answer;
    if (stream) {
        answer = stream_start_;
        answer += chunk(event(std::string(kChunkStart) + R"("choices":[{"index":0,"delta":{"tool_calls":[{"index":0,)" +
                              call + R"(]},"logprobs":null,"finish_reason":null}],"usage":null})") +
                        event(std::string(kChunkStart) +
                              R"("choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],"usage":null})") +
                        event(std::string(kChunkStart).append(R"("choices":[],"usage":)").append(kUsage) + "}") +
                        event("[DONE]"));
        answer += "0\r\n\r\n";
    } else {
        answer = json_answer("200 OK", R"({"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,)"
                                       R"("model":"bench-model","choices":[{"index":0,"message":{"role":"assistant",)"
                                       R"("content":null,"tool_calls":[{)" +
                                           call + R"(]},"finish_reason":"tool_calls"}],"usage":)" +
                                           std::string(kUsage) + "}");
    }
    return tool_calls_.emplace(key, std::move(answer)).first->second;
}

AnswerBook::Marked const& AnswerBook::content_event(std::uint32_t event_bytes) {
    auto const found = content_events_.find(event_bytes);
    if (found != content_events_.end()) return found->second;
    std::string const start = std::string(kChunkStart) + R"("choices":[{"index":0,"delta":{"content":")";
    std::string const end = R"("},"logprobs":null,"finish_reason":null}],"usage":null})";
    std::size_t const fixed_bytes = event(start + end).size() + kMarkBytes;
    std::size_t const text_bytes = event_bytes > fixed_bytes ? event_bytes - fixed_bytes : 0;
    std::string const json = std::string(start).append(kMarkPlaceholder).append(filler(text_bytes)).append(end);
    return content_events_.emplace(event_bytes, marked(chunk(event(json)))).first->second;
}

} // namespace parley::bench

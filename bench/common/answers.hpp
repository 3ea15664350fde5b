// What the mock upstream answers: a chat completion, or the events of its stream, made once per shape and then only
// stamped with the send time. Owned by the mock upstream.
// Runs on its single thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace parley::bench {

// The shape of one answer. Defaults come from the command line; a request may change it for itself with a directive
// anywhere in the first or last 4 KiB of its body, for example in its last message, which every gateway passes on:
//     [[mock events=50 interval_ms=10 event_bytes=250 answer_bytes=600 delay_ms=0]]
//     [[mock tool=echo__echo tool_rounds=8]] asks for that tool until the body holds as many results.
struct AnswerShape {
    bool stream = false;
    std::uint32_t events = 50;        // content events of a stream
    std::uint32_t interval_ms = 10;   // between content events; 0: all at once
    std::uint32_t delay_ms = 0;       // before the first byte of the answer
    std::uint32_t event_bytes = 250;  // one content event, from "data:" to its blank line
    std::uint32_t answer_bytes = 600; // answer text of a completion that is not streamed
    std::uint32_t tool_rounds = 0;    // answers that ask for `tool` before the one with text
    std::string tool = {};
    bool asks_for_tool = false; // this answer is one of those
};

// Keeps what shape_of() looks at: the first and the last kWindowBytes of a body that arrives in pieces.
class BodyWindow {
public:
    static constexpr std::size_t kWindowBytes = 4096;
    void feed(std::string_view piece);
    void clear() { kept_.clear(); }
    [[nodiscard]] std::string_view text() const { return kept_; }

private:
    std::string kept_;
};

// The shape that a request body asks for: `"stream": true` and the directive; `defaults` for all it does not name.
[[nodiscard]] AnswerShape shape_of(std::string_view body_window, AnswerShape const& defaults);

// Ready-made bytes. Every text is complete HTTP, and for streams complete chunks; a mark is at the offset given.
class AnswerBook {
public:
    struct Marked {
        std::string bytes;
        std::size_t mark_offset = 0;
    };

    // Head and body of a completion whose text is about `answer_bytes` long.
    [[nodiscard]] Marked const& completion(std::uint32_t answer_bytes);
    // One content event of about `event_bytes`, as one chunk.
    [[nodiscard]] Marked const& content_event(std::uint32_t event_bytes);
    // A whole answer that asks for the tool, streamed or not.
    [[nodiscard]] std::string const& tool_call(std::string const& tool, bool stream);
    // Head of a stream and its first event, with the role.
    [[nodiscard]] std::string const& stream_start() const { return stream_start_; }
    // finish_reason, usage, [DONE] and the last chunk.
    [[nodiscard]] std::string const& stream_end() const { return stream_end_; }
    // GET /v1/models, GET /health and the answer to anything else.
    [[nodiscard]] std::string const& models() const { return models_; }
    [[nodiscard]] std::string const& health() const { return health_; }
    [[nodiscard]] std::string const& not_found() const { return not_found_; }

    AnswerBook();

private:
    std::map<std::uint32_t, Marked> completions_;
    std::map<std::uint32_t, Marked> content_events_;
    std::map<std::string, std::string> tool_calls_; // by tool, with a * before the name if streamed
    std::string stream_start_;
    std::string stream_end_;
    std::string models_;
    std::string health_;
    std::string not_found_;
};

} // namespace parley::bench

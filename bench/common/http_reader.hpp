// Frames one HTTP/1.1 message after another out of bytes cut anywhere: head, then a body by Content-Length or chunked.
// One per connection, owned by it. For benchmark tools talking to known peers: it is quick, not a safe gate.
// Runs on the single thread of each tool.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace parley::bench {

class HttpReader {
public:
    // A request without a length has no body; a response without one could only end with the connection, which hides
    // truncation, so it counts as a failure.
    enum class Kind { kRequest, kResponse };

    explicit HttpReader(Kind kind) : kind_(kind) {}

    // Reads as much of `input` as belongs to the current message and calls on_body(string_view) for each piece of its
    // body, without the chunk framing. Returns the bytes used: fewer than given once the message is complete.
    template <typename OnBody>
    std::size_t feed(std::string_view input, OnBody on_body) {
        std::size_t used = 0;
        while (used < input.size() && state_ != State::kComplete && state_ != State::kFailed) {
            std::string_view const rest = input.substr(used);
            if (state_ == State::kHead) {
                used += read_head(rest);
            } else if (state_ == State::kBody || state_ == State::kChunkData) {
                std::size_t const take = rest.size() < body_bytes_left_ ? rest.size() : body_bytes_left_;
                on_body(rest.substr(0, take));
                used += take;
                body_bytes_left_ -= take;
                if (body_bytes_left_ == 0) state_ = state_ == State::kBody ? State::kComplete : State::kChunkEnd;
            } else {
                read_chunk_framing(rest.front());
                ++used;
            }
        }
        return used;
    }

    [[nodiscard]] bool complete() const { return state_ == State::kComplete; }
    [[nodiscard]] bool failed() const { return state_ == State::kFailed; }
    // True until the first byte of a message has been read.
    [[nodiscard]] bool untouched() const { return state_ == State::kHead && head_.empty(); }
    // Request or status line without its line end; valid from the end of the head until reset().
    [[nodiscard]] std::string_view first_line() const { return first_line_; }
    // Status of a response, 0 if there is none yet.
    [[nodiscard]] int status() const;
    [[nodiscard]] bool keep_alive() const { return keep_alive_; }
    // Whether a response says when to come again.
    [[nodiscard]] bool has_retry_after() const { return has_retry_after_; }
    void reset();

private:
    enum class State { kHead, kBody, kChunkSize, kChunkExtension, kChunkData, kChunkEnd, kTrailer, kComplete, kFailed };
    static constexpr std::size_t kHeadBytesMax = 64 * 1024;

    std::size_t read_head(std::string_view input);
    void parse_head(std::string_view head);
    void parse_field(std::string_view name, std::string_view value);
    void read_chunk_framing(char byte);
    void end_chunk_size();

    Kind kind_;
    State state_ = State::kHead;
    bool chunked_ = false;
    bool has_length_ = false;
    bool keep_alive_ = true;
    bool has_retry_after_ = false;
    std::size_t body_bytes_left_ = 0;
    std::size_t trailer_line_bytes_ = 0;
    std::string head_; // only a head that did not arrive in one piece
    std::string first_line_;
};

} // namespace parley::bench

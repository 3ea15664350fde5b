// The send-time mark that the mock upstream puts into every piece of answer text and the load generator looks for.
// Shared by both benchmark tools; no state beyond one scanner per connection, which that connection owns.
// Runs on the single thread of each tool.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace parley::bench {

// "@T" + 19 digits of CLOCK_MONOTONIC nanoseconds + "@". The width is fixed so that an answer's length never changes,
// and no character of it is touched by JSON escaping: a gateway may parse, rename and print an event again and the mark
// stays.
inline constexpr std::size_t kMarkBytes = 22;
inline constexpr std::size_t kMarkDigits = 19;
inline constexpr std::string_view kMarkPlaceholder = "@T0000000000000000000@";
static_assert(kMarkPlaceholder.size() == kMarkBytes);

// Overwrites the kMarkBytes bytes at `at` with the mark of `sent_ns`.
inline void write_mark(char* at, std::uint64_t sent_ns) {
    at[0] = '@';
    at[1] = 'T';
    for (std::size_t i = kMarkDigits; i > 0; --i) {
        at[1 + i] = static_cast<char>('0' + sent_ns % 10);
        sent_ns /= 10;
    }
    at[kMarkBytes - 1] = '@';
}

// Finds marks in a body that arrives in pieces cut anywhere, and remembers how the body ends.
class MarkScanner {
public:
    // Calls on_mark(sent_ns) for every mark that is complete with this piece, in order.
    template <typename OnMark>
    void feed(std::string_view piece, OnMark on_mark) {
        if (piece.empty()) return;
        scan_seam(piece, on_mark);
        scan(piece, piece.size(), on_mark);
        keep_tail(piece);
    }

    // True if what was fed so far ends with the terminal event of a chat completion stream.
    [[nodiscard]] bool ended_with_done() const {
        std::string_view tail(tail_.data(), tail_bytes_);
        while (!tail.empty() && (tail.back() == '\n' || tail.back() == '\r'))
            tail.remove_suffix(1);
        return tail.ends_with("data: [DONE]") || tail.ends_with("data:[DONE]");
    }

    void reset() { tail_bytes_ = 0; }

private:
    static constexpr std::size_t kTailBytesMax = kMarkBytes - 1; // too short for a whole mark: none is counted twice

    // Marks that start in the first `start_max` bytes of `text`.
    template <typename OnMark>
    static void scan(std::string_view text, std::size_t start_max, OnMark& on_mark) {
        std::size_t position = text.find('@');
        while (position < start_max && position + kMarkBytes <= text.size()) {
            std::uint64_t sent_ns = 0;
            if (read_mark(text.substr(position, kMarkBytes), sent_ns)) {
                on_mark(sent_ns);
                position += kMarkBytes - 1;
            }
            position = text.find('@', position + 1);
        }
    }

    template <typename OnMark>
    void scan_seam(std::string_view piece, OnMark& on_mark) {
        if (std::memchr(tail_.data(), '@', tail_bytes_) == nullptr) return;
        std::array<char, kTailBytesMax + kMarkBytes> seam{};
        std::size_t const from_piece = std::min(piece.size(), kMarkBytes);
        std::memcpy(seam.data(), tail_.data(), tail_bytes_);
        std::memcpy(seam.data() + tail_bytes_, piece.data(), from_piece);
        scan({seam.data(), tail_bytes_ + from_piece}, tail_bytes_, on_mark);
    }

    void keep_tail(std::string_view piece) {
        if (piece.size() >= kTailBytesMax) {
            std::memcpy(tail_.data(), piece.data() + piece.size() - kTailBytesMax, kTailBytesMax);
            tail_bytes_ = kTailBytesMax;
            return;
        }
        std::size_t const kept = std::min(tail_bytes_, kTailBytesMax - piece.size());
        std::memmove(tail_.data(), tail_.data() + tail_bytes_ - kept, kept);
        std::memcpy(tail_.data() + kept, piece.data(), piece.size());
        tail_bytes_ = kept + piece.size();
    }

    [[nodiscard]] static bool read_mark(std::string_view text, std::uint64_t& sent_ns) {
        if (text[1] != 'T' || text[kMarkBytes - 1] != '@') return false;
        std::uint64_t value = 0;
        for (char const digit : text.substr(2, kMarkDigits)) {
            if (digit < '0' || digit > '9') return false;
            value = value * 10 + static_cast<std::uint64_t>(digit - '0');
        }
        sent_ns = value;
        return true;
    }

    std::array<char, kTailBytesMax> tail_{};
    std::size_t tail_bytes_ = 0;
};

} // namespace parley::bench

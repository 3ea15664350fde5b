// Reads server-sent events (WHATWG HTML §9.2.6) from bytes that arrive in any pieces. Sans-IO: the caller brings the
// bytes. One per response body, single-threaded. Used for model streams and for MCP over HTTP.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace parley::net {

/// The longest line, and the longest data of one event, in bytes.
inline constexpr std::size_t kSseEventBytesMax = 8 * 1024 * 1024;

struct SseEvent {
    std::string_view data;  // lines joined by LF; may be empty
    std::string_view event; // the event's name, empty = none given ("message")
};

/// Use: feed(bytes), then next() until it gives false. An event that lies whole in `bytes`, with one line of data, is
/// a view of `bytes`; any other is a view of the reader's own memory. Views are valid until the next call of next().
class SseReader {
public:
    /// `bytes` must stay where they are until next() has given false.
    void feed(std::string_view bytes);

    /// true: `event` is the next one. false: all that was fed is read.
    /// Errors: kUpstreamInvalid for a line or an event above kSseEventBytesMax; then the reader is spent.
    core::Result<bool> next(SseEvent& event);

    /// The body has ended: gives the event that was not closed by an empty line, if there is one. The specification
    /// would drop it; several model servers end like that. It may be cut in the middle: the caller has to judge.
    core::Result<bool> finish(SseEvent& event);

    /// The last `id` seen, also of events that are not over yet; for Last-Event-ID.
    std::string const& last_event_id() const noexcept { return last_event_id_; }

    /// The last `retry` seen: how long to wait before connecting again.
    std::optional<std::chrono::milliseconds> retry() const noexcept { return retry_; }

    /// True once a field or a comment of the format was seen: tells a stream from some other text.
    bool recognised() const noexcept { return recognised_; }

private:
    enum class Line { kNone, kRead, kTooLong };

    void skip_bom();
    std::size_t find_line_end();
    Line take_line(std::string_view& line);
    core::Result<> take_field(std::string_view line);
    core::Result<> add_data(std::string_view value);
    bool dispatch(SseEvent& event);
    void keep_data();

    std::string_view input_;   // not read yet
    char const* lf_ = nullptr; // first LF at or after input_, or its end; nullptr = not looked for yet
    char const* cr_ = nullptr; // same for CR
    bool skip_lf_ = false;     // the last line ended in CR at the very end: an LF now belongs to it
    bool line_used_ = false;   // line_ was given out and is to be cleared
    bool recognised_ = false;
    unsigned bom_ = 0; // bytes of the byte order mark seen; 3 = it is not to be looked for any more
    std::string line_; // the start of a line whose end has not come yet

    bool has_data_ = false;
    bool data_kept_ = false; // the data is in data_, not where data_view_ points
    std::string_view data_view_;
    std::string data_;
    std::string event_;
    std::string dispatched_event_;
    std::string last_event_id_;
    std::optional<std::chrono::milliseconds> retry_;
};

} // namespace parley::net

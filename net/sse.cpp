// Reads server-sent events (WHATWG HTML §9.2.6) from bytes that arrive in any pieces. Sans-IO: the caller brings the
// bytes. One per response body, single-threaded. Used for model streams and for MCP over HTTP.
#include "net/sse.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace parley::net {

namespace {

constexpr std::string_view kBom = "\xEF\xBB\xBF";

char const* find(char c, std::string_view in) noexcept {
    void const* const at = in.empty() ? nullptr : std::memchr(in.data(), c, in.size());
    return at ? static_cast<char const*>(at) : in.data() + in.size();
}

core::Error too_long() {
    return core::make_error(core::Errc::kUpstreamInvalid, "The server sent an event of more than 8 MiB.");
}

} // namespace

void SseReader::feed(std::string_view bytes) {
    input_ = bytes;
    lf_ = cr_ = nullptr;
    if (bom_ < kBom.size()) skip_bom();
    if (skip_lf_ && !input_.empty()) {
        if (input_.front() == '\n') input_.remove_prefix(1);
        skip_lf_ = false;
    }
}

void SseReader::skip_bom() {
    while (bom_ < kBom.size() && !input_.empty()) {
        if (input_.front() == kBom[bom_]) {
            ++bom_;
            input_.remove_prefix(1);
        } else {
            line_.append(kBom.substr(0, bom_));
            bom_ = static_cast<unsigned>(kBom.size());
        }
    }
}

/// Each of LF and CR is looked for once per stretch of input, so that no mix of line ends makes this quadratic.
std::size_t SseReader::find_line_end() {
    if (lf_ == nullptr || lf_ < input_.data()) lf_ = find('\n', input_);
    if (cr_ == nullptr || cr_ < input_.data()) cr_ = find('\r', input_);
    return static_cast<std::size_t>((lf_ < cr_ ? lf_ : cr_) - input_.data());
}

SseReader::Line SseReader::take_line(std::string_view& line) {
    if (line_used_) {
        line_.clear();
        line_used_ = false;
    }
    std::size_t const end = find_line_end();
    if (line_.size() + end > kSseEventBytesMax) return Line::kTooLong;
    if (end == input_.size()) {
        line_.append(input_);
        input_ = {};
        return Line::kNone;
    }
    line = input_.substr(0, end);
    if (!line_.empty()) {
        line_.append(line);
        line = line_;
        line_used_ = true;
    }
    bool const cr = input_[end] == '\r';
    input_.remove_prefix(end + 1);
    if (cr) {
        if (input_.empty()) {
            skip_lf_ = true;
        } else if (input_.front() == '\n') {
            input_.remove_prefix(1);
        }
    }
    return Line::kRead;
}

core::Result<bool> SseReader::next(SseEvent& event) {
    std::string_view line;
    while (!input_.empty()) {
        // A line that was carried over is in line_, which the next line may need.
        if (line_used_ && has_data_) keep_data();
        Line const taken = take_line(line);
        if (taken == Line::kTooLong) return too_long();
        if (taken == Line::kNone) break;
        if (line.empty()) {
            if (dispatch(event)) return true;
            continue;
        }
        auto const added = take_field(line);
        if (!added) return added.error();
    }
    if (has_data_) keep_data(); // what it points to is about to go
    return false;
}

core::Result<bool> SseReader::finish(SseEvent& event) {
    input_ = {};
    if (has_data_) keep_data();
    if (line_used_) line_.clear();
    line_used_ = false;
    if (!line_.empty()) {
        line_used_ = true;
        auto const added = take_field(line_);
        if (!added) return added.error();
    }
    return dispatch(event);
}

core::Result<> SseReader::take_field(std::string_view line) {
    std::size_t const colon = static_cast<std::size_t>(find(':', line) - line.data());
    std::string_view const name = line.substr(0, colon);
    std::string_view value = line.substr(colon < line.size() ? colon + 1 : colon);
    if (!value.empty() && value.front() == ' ') value.remove_prefix(1);

    if (name == "data") return add_data(value);
    if (name == "event") {
        event_.assign(value);
    } else if (name == "id") {
        if (value.find('\0') == std::string_view::npos) last_event_id_.assign(value);
    } else if (name == "retry") {
        std::int64_t ms = 0;
        auto const [end, failed] = std::from_chars(value.data(), value.data() + value.size(), ms);
        bool const whole = failed == std::errc{} && end == value.data() + value.size();
        if (whole && value.front() != '-') retry_ = std::chrono::milliseconds(ms);
    } else if (std::ranges::any_of(name, [](char c) { return c < ' ' || c == 0x7f; })) { // char is signed: >= 0x80 too
        return core::make_error(core::Errc::kUpstreamInvalid, "The event stream is damaged.");
    } else if (!name.empty()) {
        return {}; // not a field: ignored, and no sign of a stream
    }
    recognised_ = true;
    return {};
}

core::Result<> SseReader::add_data(std::string_view value) {
    recognised_ = true;
    if (!has_data_) {
        has_data_ = true;
        data_kept_ = false;
        data_view_ = value;
        return {};
    }
    keep_data();
    if (data_.size() + 1 + value.size() > kSseEventBytesMax) return too_long();
    data_ += '\n';
    data_ += value;
    return {};
}

void SseReader::keep_data() {
    if (data_kept_) return;
    data_.assign(data_view_);
    data_kept_ = true;
}

bool SseReader::dispatch(SseEvent& event) {
    dispatched_event_.swap(event_);
    event_.clear();
    if (!has_data_) return false;
    event.data = data_kept_ ? std::string_view(data_) : data_view_;
    event.event = dispatched_event_;
    has_data_ = false;
    return true;
}

} // namespace parley::net

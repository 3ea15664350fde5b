#include "core/log.hpp"

#include <array>
#include <chrono>
#include <cmath>
#include <ctime>

#include <poll.h>
#include <unistd.h>

#include "core/append.hpp"
#include "core/json.hpp"
#include "core/personal_data.hpp"

namespace parley::core {
namespace {

struct LevelLook {
    std::string_view name;
    std::string_view text; // padded, for aligned columns
    std::string_view colour;
};

constexpr std::array<LevelLook, 4> kLevels{{{"debug", "DEBUG", "\x1b[2m"},
                                            {"info", "INFO ", "\x1b[32m"},
                                            {"warn", "WARN ", "\x1b[33m"},
                                            {"error", "ERROR", "\x1b[31m"}}};

// A pipe that polls as writable takes at least this much without blocking (POSIX PIPE_BUF on Linux).
constexpr std::size_t kWriteBytes = 4096;

// As many whole lines as one write takes without being cut: several loops write to the same pipe. A line longer than
// that goes alone.
std::size_t whole_lines(std::string_view text) noexcept {
    if (text.size() <= kWriteBytes) return text.size();
    auto const last = text.rfind('\n', kWriteBytes - 1);
    if (last != std::string_view::npos) return last + 1;
    auto const first = text.find('\n', kWriteBytes);
    return first == std::string_view::npos ? text.size() : first + 1;
}

bool needs_quotes(std::string_view value) {
    if (value.empty()) return true;
    for (unsigned char const c : value) {
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f) return true;
    }
    return false;
}

} // namespace

Log::Line::Line(Log& log, LogLevel level, std::string_view event, bool always)
    : log_(log), enabled_(always || log.enabled(level)) {
    if (!enabled_) return;
    auto& out = log_.buffer_;
    log_.line_start_ = out.size();
    auto const& look = kLevels[static_cast<std::size_t>(level)];
    if (log_.options_.format == LogFormat::kJson) {
        out += R"({"time":")";
        log_.append_time();
        append(out, R"(","level":")", look.name, R"(","event":")", event, '"');
    } else {
        log_.append_time();
        out += ' ';
        if (log_.options_.colour) out += look.colour;
        out += look.text;
        if (log_.options_.colour) out += "\x1b[0m";
        out += ' ';
        out += event;
    }
}

void Log::Line::key(std::string_view name) {
    auto& out = log_.buffer_;
    if (log_.options_.format == LogFormat::kJson) {
        append(out, ",\"", name, "\":");
    } else {
        append(out, ' ', name, '=');
    }
}

Log::Line& Log::Line::add(std::string_view name, std::string_view value) {
    if (!enabled_) return *this;
    std::string masked;
    if (!log_.options_.personal_data && may_hold_personal_data(value)) {
        masked = mask_personal_data(value);
        value = masked;
    }
    key(name);
    if (log_.options_.format == LogFormat::kJson || needs_quotes(value)) {
        append_json_string(log_.buffer_, value);
    } else {
        log_.buffer_ += value;
    }
    return *this;
}

Log::Line& Log::Line::add(std::string_view name, std::int64_t value) {
    if (!enabled_) return *this;
    key(name);
    append_number(log_.buffer_, value);
    return *this;
}

Log::Line& Log::Line::add_ms(std::string_view name, double value) {
    if (!enabled_) return *this;
    key(name);
    auto const tenths = std::llround(std::fabs(value) * 10);
    if (value < 0 && tenths != 0) log_.buffer_ += '-';
    append(log_.buffer_, tenths / 10, '.', tenths % 10);
    return *this;
}

Log::Line::~Line() {
    if (!enabled_) return;
    auto& out = log_.buffer_;
    if (log_.options_.format == LogFormat::kJson) out += '}';
    out += '\n';
    if (out.size() > kBufferBytesMax) {
        out.resize(log_.line_start_);
        ++log_.dropped_lines_;
    }
    if (!log_.options_.buffered) log_.flush();
}

// The time up to its seconds is built once a second: UTC with its date in JSON, the local time of day in text.
void Log::append_time() {
    auto const now = std::chrono::system_clock::now();
    auto const second = std::chrono::system_clock::to_time_t(now);
    if (second != second_) {
        bool const json = options_.format == LogFormat::kJson;
        std::tm parts{};
        if (json) {
            gmtime_r(&second, &parts);
        } else {
            localtime_r(&second, &parts);
        }
        char text[40];
        auto const size = std::strftime(text, sizeof text, json ? "%Y-%m-%dT%H:%M:%S." : "%H:%M:%S.", &parts);
        second_text_.assign(text, size);
        second_ = second;
    }
    auto const since_epoch = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch());
    buffer_ += second_text_;
    append_padded(buffer_, static_cast<unsigned>(since_epoch.count() % 1000), 3);
    if (options_.format == LogFormat::kJson) buffer_ += 'Z';
}

void Log::flush() noexcept {
    std::size_t written = 0;
    while (written < buffer_.size()) {
        pollfd ready{options_.fd, POLLOUT, 0};
        if (::poll(&ready, 1, 0) != 1) break;
        auto const size = whole_lines(std::string_view(buffer_).substr(written));
        auto const n = ::write(options_.fd, buffer_.data() + written, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            written = buffer_.size(); // nobody can read it: drop
            break;
        }
        written += static_cast<std::size_t>(n);
    }
    buffer_.erase(0, written);
}

} // namespace parley::core

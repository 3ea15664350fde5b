#include "core/log.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <ctime>
#include <iterator>

#include <poll.h>
#include <unistd.h>

#include "core/json.hpp"

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

void append_time(std::string& out, bool date) {
    auto const now = std::chrono::system_clock::now();
    auto const seconds = std::chrono::system_clock::to_time_t(now);
    auto const ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
    std::tm utc{};
    gmtime_r(&seconds, &utc);
    if (date) {
        fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                       utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, ms);
    } else {
        std::tm local{};
        localtime_r(&seconds, &local);
        fmt::format_to(std::back_inserter(out), "{:02}:{:02}:{:02}.{:03}", local.tm_hour, local.tm_min, local.tm_sec,
                       ms);
    }
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
        append_time(out, true);
        out += R"(","level":")";
        out += look.name;
        out += R"(","event":)";
        append_json_string(out, event);
    } else {
        append_time(out, false);
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
        out += ',';
        append_json_string(out, name);
        out += ':';
    } else {
        out += ' ';
        out += name;
        out += '=';
    }
}

Log::Line& Log::Line::add(std::string_view name, std::string_view value) {
    if (!enabled_) return *this;
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
    fmt::format_to(std::back_inserter(log_.buffer_), "{}", value);
    return *this;
}

Log::Line& Log::Line::add_ms(std::string_view name, double value) {
    if (!enabled_) return *this;
    key(name);
    fmt::format_to(std::back_inserter(log_.buffer_), "{:.1f}", value);
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

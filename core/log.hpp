// One line per event, as JSON or as text for a terminal. Each loop has its own Log and so no lock: lines are gathered
// and written in one go by flush(). A reader that has stopped reading costs log lines, never requests.
#pragma once

#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

namespace parley::core {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarn, kError };
enum class LogFormat : std::uint8_t { kText, kJson };

struct LogOptions {
    LogLevel level = LogLevel::kInfo;
    LogFormat format = LogFormat::kText;
    int fd = 2;
    bool colour = false;        // text only
    bool buffered = false;      // true: the owner calls flush() itself; false: every line is written at once
    bool personal_data = false; // false: masked in every value (core/personal_data.hpp); true: as it comes
};

class Log {
public:
    static constexpr std::size_t kBufferBytesMax = 1 << 20; // lines above it are dropped and counted

    explicit Log(LogOptions options) : options_(options) {}
    ~Log() { flush(); }
    Log(Log const&) = delete;
    Log& operator=(Log const&) = delete;

    bool enabled(LogLevel level) const noexcept { return level >= options_.level; }

    /// Builds one line; written when it dies. Values are escaped; the event and the names are literals that need no
    /// escape. Message text of users does not belong here.
    class Line {
    public:
        Line(Log& log, LogLevel level, std::string_view event, bool always = false);
        ~Line();
        Line(Line const&) = delete;
        Line& operator=(Line const&) = delete;

        Line& add(std::string_view name, std::string_view value);
        Line& add(std::string_view name, std::int64_t value);
        Line& add_ms(std::string_view name, double value); // milliseconds, one decimal

    private:
        void key(std::string_view name);
        Log& log_;
        bool enabled_;
    };

    Line debug(std::string_view event) { return Line(*this, LogLevel::kDebug, event); }
    /// A line that every level shows: what a person or a supervisor waits for.
    Line announce(std::string_view event) { return Line(*this, LogLevel::kInfo, event, true); }
    Line info(std::string_view event) { return Line(*this, LogLevel::kInfo, event); }
    Line warn(std::string_view event) { return Line(*this, LogLevel::kWarn, event); }
    Line error(std::string_view event) { return Line(*this, LogLevel::kError, event); }

    /// Writes what is gathered, as much as the reader takes without making us wait.
    void flush() noexcept;

    LogOptions const& options() const noexcept { return options_; }
    std::uint64_t dropped_lines() const noexcept { return dropped_lines_; }

private:
    void append_time();

    LogOptions options_;
    std::time_t second_ = -1; // what second_text_ says
    std::string second_text_;
    std::string buffer_;
    std::size_t line_start_ = 0;
    std::uint64_t dropped_lines_ = 0;
};

} // namespace parley::core

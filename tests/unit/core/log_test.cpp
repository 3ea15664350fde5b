#include "core/log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <ctime>
#include <string>

#include <unistd.h>

namespace parley::core {
namespace {

class LogTest : public ::testing::Test {
protected:
    void SetUp() override { ASSERT_EQ(::pipe(fds_.data()), 0); }
    void TearDown() override {
        ::close(fds_[0]);
        ::close(fds_[1]);
    }
    std::string written() {
        std::array<char, 65536> buffer;
        auto const n = ::read(fds_[0], buffer.data(), buffer.size());
        return {buffer.data(), static_cast<std::size_t>(n > 0 ? n : 0)};
    }
    std::array<int, 2> fds_{};
};

TEST_F(LogTest, MasksPersonalData) {
    Log log({LogLevel::kInfo, LogFormat::kText, fds_[1], false, false});
    log.info("x").add("reason", "no a@b.de here").add("card", "4111111111111111").add("request_id", "req-12345678");
    auto const line = written();
    EXPECT_THAT(line,
                ::testing::ContainsRegex("reason=\"no .email [0-9a-f]{6}. here\" card=.card. request_id=req-12345678"));
    Log keeps({LogLevel::kInfo, LogFormat::kText, fds_[1], false, false, true});
    keeps.info("x").add("reason", "a@b.de");
    EXPECT_TRUE(written().ends_with("reason=a@b.de\n"));
}

TEST_F(LogTest, WritesOneJsonObjectALine) {
    Log log({LogLevel::kInfo, LogFormat::kJson, fds_[1], false, false});
    log.info("request").add("agent", "a\"b\n").add("status", 200).add_ms("duration_ms", 1.25);
    auto const line = written();
    EXPECT_TRUE(line.starts_with(R"({"time":"2)")) << line;
    EXPECT_NE(line.find(R"("level":"info","event":"request","agent":"a\"b\n","status":200,"duration_ms":1.)"),
              std::string::npos)
        << line;
    EXPECT_TRUE(line.ends_with("}\n")) << line;
}

TEST_F(LogTest, SaysWhenInUtcToTheMillisecond) {
    auto const hour = [] {
        auto const now = std::time(nullptr);
        std::array<char, 32> text{};
        std::strftime(text.data(), text.size(), "%Y-%m-%dT%H", std::gmtime(&now));
        return std::string(text.data());
    };
    Log log({LogLevel::kInfo, LogFormat::kJson, fds_[1], false, false});
    auto const before = hour();
    log.info("x");
    auto const line = written();
    EXPECT_THAT(line, ::testing::MatchesRegex(R"(.*"time":"2...-[01].-[0-3].T[012].:[0-5].:[0-6].\....Z","level".*)"));
    EXPECT_TRUE(line.find(before) != line.npos || line.find(hour()) != line.npos) << line << " is not " << before;
}

TEST_F(LogTest, RoundsMillisecondsToOneDecimal) {
    Log log({LogLevel::kInfo, LogFormat::kText, fds_[1], false, false});
    log.info("x").add_ms("a", 0).add_ms("b", 0.04).add_ms("c", 0.96).add_ms("d", 9.95).add_ms("e", 123456.78);
    log.info("y").add_ms("a", -0.04).add_ms("b", -1.26);
    auto const text = written();
    EXPECT_NE(text.find("x a=0.0 b=0.0 c=1.0 d=10.0 e=123456.8\n"), std::string::npos) << text;
    EXPECT_NE(text.find("y a=0.0 b=-1.3\n"), std::string::npos) << text;
}

TEST_F(LogTest, QuotesTextThatWouldBreakALine) {
    Log log({LogLevel::kInfo, LogFormat::kText, fds_[1], false, false});
    log.warn("x").add("plain", "abc").add("odd", "a b\nINFO forged");
    EXPECT_NE(written().find("WARN  x plain=abc odd=\"a b\\nINFO forged\"\n"), std::string::npos);
}

TEST_F(LogTest, LeavesOutWhatIsBelowItsLevel) {
    Log log({LogLevel::kWarn, LogFormat::kText, fds_[1], false, false});
    log.info("quiet").add("a", "b");
    log.error("loud");
    auto const text = written();
    EXPECT_EQ(text.find("quiet"), std::string::npos);
    EXPECT_NE(text.find("loud"), std::string::npos);
}

TEST_F(LogTest, DropsLinesRatherThanWait) { // nobody reads the pipe
    Log log({LogLevel::kInfo, LogFormat::kJson, fds_[1], false, true});
    std::string const long_value(1000, 'x');
    for (int i = 0; i < 3000; ++i) {
        log.info("flood").add("value", long_value);
        log.flush();
    }
    EXPECT_GT(log.dropped_lines(), 0U);
}

} // namespace
} // namespace parley::core

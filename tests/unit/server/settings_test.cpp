#include "server/settings.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace parley::server {
namespace {

class SettingsTest : public ::testing::Test {
protected:
    SettingsTest() {
        char name[] = "/tmp/parley-settings-XXXXXX";
        folder_ = ::mkdtemp(name);
    }
    ~SettingsTest() override {
        std::filesystem::remove_all(folder_);
        for (auto const* variable : {"PORT", "HOST", "PARLEY_DRAIN_SECONDS"})
            ::unsetenv(variable);
    }
    Environment environment(std::string const& dotenv) {
        std::ofstream(folder_ / ".env") << dotenv;
        return *Environment::load((folder_ / ".env").string());
    }
    std::filesystem::path folder_;
};

TEST_F(SettingsTest, FlagBeatsEnvironmentBeatsDotenvBeatsDefault) {
    auto const dotenv = environment("PORT=7001\nHOST=127.0.0.2\n");
    EXPECT_EQ(make_settings({}, environment("")).settings.port, 8000);
    EXPECT_EQ(make_settings({}, environment("PORT=7001\n")).settings.port, 7001);
    ::setenv("PORT", "7002", 1);
    EXPECT_EQ(make_settings({}, dotenv).settings.port, 7002);
    Flags flags;
    flags.port = std::uint16_t{7003};
    auto const settings = make_settings(flags, dotenv).settings;
    EXPECT_EQ(settings.port, 7003);
    EXPECT_EQ(settings.host, "127.0.0.2");
}

TEST_F(SettingsTest, AnEmptyVariableIsNotSet) {
    ::setenv("PORT", "", 1);
    EXPECT_EQ(make_settings({}, environment("PORT=7001\n")).settings.port, 7001);
}

TEST_F(SettingsTest, ReportsEveryFault) {
    auto const result =
        make_settings({}, environment("PORT=abc\nPARLEY_DRAIN_SECONDS=-1\nLOG_LEVEL=loud\nPARLEY_TLS_CERT=x\n"));
    EXPECT_EQ(result.faults.size(), 4U);
    EXPECT_NE(result.faults[0].find("PORT=abc"), std::string::npos);
}

TEST_F(SettingsTest, ReadsLists) {
    auto const settings =
        make_settings({}, environment("PARLEY_CORS_ORIGINS=https://a.example/, http://b:3000\n")).settings;
    EXPECT_EQ(settings.cors_origins, (std::vector<std::string>{"https://a.example", "http://b:3000"}));
}

TEST_F(SettingsTest, KnowsLoopback) {
    Settings settings;
    for (auto const* host : {"127.0.0.1", "127.1.2.3", "localhost", "::1"}) {
        settings.host = host;
        EXPECT_TRUE(settings.loopback_only()) << host;
    }
    for (auto const* host : {"0.0.0.0", "::", "192.168.0.1"}) {
        settings.host = host;
        EXPECT_FALSE(settings.loopback_only()) << host;
    }
}

TEST_F(SettingsTest, RefusesABrokenDotenv) {
    std::ofstream(folder_ / ".env") << "A=\"never closed\n";
    auto const loaded = Environment::load((folder_ / ".env").string());
    ASSERT_FALSE(loaded);
    EXPECT_NE(loaded.error().message.find(".env:1"), std::string::npos) << loaded.error().message;
}

} // namespace
} // namespace parley::server

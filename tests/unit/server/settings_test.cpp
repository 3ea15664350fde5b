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

TEST_F(SettingsTest, WritesOriginsAsBrowsersDo) {
    auto const result = make_settings(
        {}, environment("PARLEY_CORS_ORIGINS=HTTPS://A.Example:443, http://b:80/,https://c:80,http://[::1]:3000,"
                        "app://obsidian.md,null,chrome-extension://abc\n"));
    EXPECT_EQ(result.faults, std::vector<std::string>{});
    EXPECT_EQ(result.settings.cors_origins,
              (std::vector<std::string>{"https://a.example", "http://b", "https://c:80", "http://[::1]:3000",
                                        "app://obsidian.md", "null", "chrome-extension://abc"}));
}

TEST_F(SettingsTest, RefusesWhatIsNoOrigin) {
    for (auto const* wrong : {"*", "foo", "a.org", "https://*.a.org", "https://", "://a", "https://a.org/path",
                              "https://a.org:", "https://:1", "https://a:99999", "https://a:0", "https://u@a.org",
                              "https://a b", "http://[::1", "http://[]", "1http://a"}) {
        auto const result = make_settings({}, environment(std::string("PARLEY_CORS_ORIGINS=") + wrong + "\n"));
        ASSERT_EQ(result.faults.size(), 1U) << wrong;
        EXPECT_TRUE(result.faults[0].starts_with("PARLEY_CORS_ORIGINS: '")) << result.faults[0];
    }
}

TEST_F(SettingsTest, RefusesWhatIsNoHeader) {
    for (auto const* variable : {"PARLEY_SESSION_HEADERS", "PARLEY_USER_HEADERS", "PARLEY_USER_JWT_HEADER"}) {
        for (auto const* wrong : {"a b", "x:", "\"", "h\xc3\xa4"}) {
            auto const result = make_settings({}, environment(std::string(variable) + "='" + wrong + "'\n"));
            ASSERT_EQ(result.faults.size(), 1U) << variable << wrong;
            EXPECT_TRUE(result.faults[0].starts_with(variable)) << result.faults[0];
        }
        EXPECT_TRUE(make_settings({}, environment(std::string(variable) + "=X-Good_1\n")).faults.empty());
    }
    EXPECT_EQ(make_settings({}, environment("PARLEY_USER_HEADERS=A,,b\n")).settings.user_headers,
              (std::vector<std::string>{"a", "b"}));
}

TEST_F(SettingsTest, RefusesKeysThatLetNobodyIn) {
    for (auto const* variable : {"PARLEY_API_KEYS", "PARLEY_FORWARDER_KEYS"}) {
        for (std::string const& wrong :
             {std::string(","), std::string(" ,\t"), std::string("good,b\x7f"), std::string(513, 'k')}) {
            auto const result = make_settings({}, environment(std::string(variable) + "=\"" + wrong + "\"\n"));
            ASSERT_EQ(result.faults.size(), 1U) << variable << wrong;
            EXPECT_TRUE(result.faults[0].starts_with(variable)) << result.faults[0];
        }
        auto const good =
            make_settings({}, environment(std::string(variable) + "=,a,, " + std::string(512, 'k') + "\n"));
        EXPECT_TRUE(good.faults.empty());
        EXPECT_TRUE(good.settings.wants_keys());
    }
    EXPECT_FALSE(make_settings({}, environment("PARLEY_API_KEYS=\n")).settings.wants_keys());
    Settings settings;
    settings.api_keys = core::Secret(",");
    EXPECT_FALSE(settings.wants_keys());
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

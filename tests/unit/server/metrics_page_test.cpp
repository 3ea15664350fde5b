#include "server/metrics_page.hpp"

#include <gtest/gtest.h>

#include <array>

namespace parley::server {
namespace {

using core::MetricKind;
using core::MetricName;

TEST(MetricsPage, AddsUpTheLoops) {
    constexpr MetricName kRequests{"t_requests_total", "Requests.", MetricKind::kCounter};
    constexpr MetricName kSeconds{"t_seconds", "Seconds.", MetricKind::kHistogram};
    core::MetricSet one;
    core::MetricSet two;
    one.counter(kRequests, {{"route", "a"}}).add(2);
    two.counter(kRequests, {{"route", "a"}}).add(3);
    two.counter(kRequests, {{"route", "b"}}).add();
    one.histogram(kSeconds).observe_seconds(0.002);
    two.histogram(kSeconds).observe_seconds(700);
    std::array<core::MetricSet const*, 2> const sets{&one, &two};
    auto const page = metrics_page(sets);
    EXPECT_NE(page.find("t_requests_total{route=\"a\"} 5\n"), std::string::npos) << page;
    EXPECT_NE(page.find("t_requests_total{route=\"b\"} 1\n"), std::string::npos) << page;
    EXPECT_NE(page.find("t_seconds_bucket{le=\"0.001\"} 0\n"), std::string::npos) << page;
    EXPECT_NE(page.find("t_seconds_bucket{le=\"0.0025\"} 1\n"), std::string::npos) << page;
    EXPECT_NE(page.find("t_seconds_bucket{le=\"600\"} 1\n"), std::string::npos) << page;
    EXPECT_NE(page.find("t_seconds_bucket{le=\"+Inf\"} 2\n"), std::string::npos) << page;
    EXPECT_NE(page.find("t_seconds_count 2\n"), std::string::npos) << page;
}

} // namespace
} // namespace parley::server

#include "server/metrics_page.hpp"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <sstream>
#include <utility>

namespace parley::server {
namespace {

struct Sum {
    core::MetricKind kind = core::MetricKind::kCounter;
    std::string help;
    std::map<core::Labels, prometheus::ClientMetric> metrics; // sorted: the page is stable
};

void add_histogram(prometheus::ClientMetric::Histogram& into, core::Histogram const& from) {
    auto const& bounds = core::Histogram::kBoundsSeconds;
    into.bucket.resize(bounds.size() + 1);
    std::uint64_t running = 0;
    for (std::size_t i = 0; i <= bounds.size(); ++i) {
        running += static_cast<std::uint64_t>(from.bucket(i));
        into.bucket[i].upper_bound = i < bounds.size() ? bounds[i] : std::numeric_limits<double>::infinity();
        into.bucket[i].cumulative_count += running;
    }
    into.sample_count += running;
    into.sample_sum += from.sum_seconds();
}

} // namespace

std::string metrics_page(std::span<core::MetricSet const* const> sets) {
    std::map<std::string, Sum> sums;
    for (auto const* const set : sets) {
        set->for_each([&sums](core::MetricSet::Series const& series) {
            auto& sum = sums[std::string(series.name.name)];
            sum.kind = series.name.kind;
            sum.help = series.name.help;
            auto& metric = sum.metrics[series.labels];
            if (series.name.kind == core::MetricKind::kHistogram) {
                add_histogram(metric.histogram, series.histogram);
            } else {
                metric.gauge.value += static_cast<double>(series.counter.value());
            }
        });
    }
    std::vector<prometheus::MetricFamily> families;
    for (auto& [name, sum] : sums) {
        auto& family = families.emplace_back();
        family.name = name;
        family.help = sum.help;
        family.type = sum.kind == core::MetricKind::kHistogram ? prometheus::MetricType::Histogram
                      : sum.kind == core::MetricKind::kGauge   ? prometheus::MetricType::Gauge
                                                               : prometheus::MetricType::Counter;
        for (auto& [labels, metric] : sum.metrics) {
            metric.counter.value = metric.gauge.value;
            for (auto const& [key, value] : labels)
                metric.label.push_back({key, value});
            family.metric.push_back(std::move(metric));
        }
    }
    std::ostringstream out;
    prometheus::TextSerializer{}.Serialize(out, families);
    return out.str();
}

} // namespace parley::server

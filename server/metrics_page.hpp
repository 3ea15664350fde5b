// The Prometheus page: the numbers of all loops, added up.
#pragma once

#include <span>
#include <string>

#include "core/metrics.hpp"

namespace parley::server {

/// Safe from any thread. Text exposition format 0.0.4.
std::string metrics_page(std::span<core::MetricSet const* const> sets);

} // namespace parley::server

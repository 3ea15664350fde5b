// The time of day, for what is kept and shown.
#pragma once

#include <cstdint>
#include <string>

namespace parley::server {

/// Milliseconds since 1970.
std::int64_t wall_clock_ms();

/// As 2026-11-27T02:15:28Z.
std::string utc_text(std::int64_t ms);

} // namespace parley::server

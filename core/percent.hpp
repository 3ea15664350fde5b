// Percent-encoding (RFC 3986 2.1).
#pragma once

#include <string>
#include <string_view>

namespace parley::core {

/// Percent-encodes everything but RFC 3986's unreserved characters.
std::string percent_encode(std::string_view text);

} // namespace parley::core

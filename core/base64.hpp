// Base64 (RFC 4648): the standard alphabet with padding, and the one for URLs and JOSE without.
// Pure functions, callable from any loop.
#pragma once

#include <string>
#include <string_view>

namespace parley::core {

std::string base64(std::string_view bytes);
std::string base64url(std::string_view bytes);

} // namespace parley::core

// Base64 (RFC 4648): the standard alphabet with padding, and the one for URLs and JOSE without.
// Pure functions, callable from any loop.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace parley::core {

std::string base64(std::string_view bytes);
std::string base64url(std::string_view bytes);

/// The bytes of `text`, base64url without padding. nullopt for anything else, also for stray bits at the end.
std::optional<std::string> from_base64url(std::string_view text);

} // namespace parley::core

// How long a provider asks us to wait, when it says so only in words. The headers: parse_retry_after,
// provider_error.hpp. Pure functions, called only on errors.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace parley::providers {

/// "Please retry after 37 seconds" (Azure), "Please try again in 6m0s", "… in 1.2s", "… in 20ms" (OpenAI).
/// Capped like parse_retry_after; nullopt when the text says nothing of the kind.
std::optional<std::chrono::milliseconds> wait_in_words(std::string_view text);

} // namespace parley::providers

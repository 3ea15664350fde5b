// The JSON check without a copy, for those who keep their text in a buffer with room behind it.
// No state: callable from any loop.
#pragma once

#include <cstddef>
#include <string_view>

#include "core/result.hpp"

namespace parley::core {

/// Bytes that the fast reader may look at (never write) behind the end of a text.
inline constexpr std::size_t kJsonPadding = 64;

/// Like check_json, without the copy, for a `text` whose memory is readable up to text.data() + capacity, where that is
/// at least text.size() + kJsonPadding and a zero byte or whitespace follows the text (as in any std::string with that
/// capacity). Anything else is copied first. Errors: as check_json.
Result<> check_json_padded(std::string_view text, std::size_t capacity, std::size_t depth_max);

} // namespace parley::core

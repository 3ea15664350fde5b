// Patterns of names, as people write them.
#pragma once

#include <string_view>

namespace parley::core {

/// True when `pattern` stands for all of `text`: * = any text, ? = one byte, all else itself. Linear in practice,
/// never exponential.
bool glob_matches(std::string_view pattern, std::string_view text) noexcept;

} // namespace parley::core

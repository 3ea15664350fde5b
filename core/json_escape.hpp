// One escape of a JSON string, read. Shared by the files that implement core/json.hpp; no state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace parley::core {

struct Escape {
    std::size_t size = 1;   // bytes that it takes (a surrogate pair: 12); of a broken one, those to replace
    std::int32_t code = -1; // code point, -1 = broken or a lone surrogate
};

/// The escape at the start of `text`, which begins with a backslash.
Escape read_escape(std::string_view text) noexcept;

} // namespace parley::core

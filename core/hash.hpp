// SHA-256 and comparing without telling how far it matched. libcrypto does the work, behind plain types.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace parley::core {

using Sha256 = std::array<std::uint8_t, 32>;

Sha256 sha256(std::string_view bytes);

/// Lower-case hex, 64 characters.
std::string sha256_hex(std::string_view bytes);

/// Takes the same time wherever the two differ.
bool equal_in_constant_time(Sha256 const& a, Sha256 const& b) noexcept;

} // namespace parley::core

// Bytes that nobody can guess, from the kernel. For secrets; ids that only have to differ come from core/ids.hpp.
#pragma once

#include <cstddef>
#include <string>

namespace parley::core {

/// Throws std::system_error when the kernel has none to give, which no running system does.
std::string random_bytes(std::size_t n);

} // namespace parley::core

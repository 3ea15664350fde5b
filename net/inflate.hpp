// gzip bodies, bounded: a small body must not become a large one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace parley::net {

/// Errors: kPayloadTooLarge above `bytes_max`; kInvalidValue when it is not one gzip member, whole and sound.
core::Result<std::string> gunzip(std::string_view bytes, std::size_t bytes_max);

} // namespace parley::net

// gzip bodies, bounded: a small body must not become a large one.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "core/result.hpp"

namespace parley::net {

/// Unpacks a text step by step, so that a loop can do other things between them.
class Gunzip {
public:
    /// `bytes` outlive it.
    Gunzip(std::string_view bytes, std::size_t bytes_max);
    ~Gunzip();
    Gunzip(Gunzip const&) = delete;
    Gunzip& operator=(Gunzip const&) = delete;

    /// Some 512 KB more; true once everything is there. Errors: kPayloadTooLarge above `bytes_max`; kInvalidValue when
    /// it is not one gzip member, whole and sound; kInternal.
    core::Result<bool> step();

    /// What was unpacked; once.
    std::string take() noexcept { return std::move(out_); }

private:
    struct Stream;
    std::unique_ptr<Stream> stream_;
    std::size_t bytes_max_;
    std::string out_;
};

} // namespace parley::net

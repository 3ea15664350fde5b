// Chunked bodies (RFC 9112 §7.1), bounded in every part. Sans-IO, no allocation; part of the gate and fuzzed with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace parley::net {

/// Reads one chunked body (RFC 9112 §7.1). Extensions and trailers are bounded and dropped, never merged into fields.
class ChunkedReader {
public:
    static constexpr std::size_t kExtensionBytesMax = 1024;       // a chunk
    static constexpr std::size_t kExtensionBytesTotalMax = 16384; // a body
    static constexpr std::size_t kTrailerBytesMax = 8192;
    static constexpr std::size_t kTrailerFieldsMax = 32;

    enum class Status : std::uint8_t { kData, kNeedMore, kDone, kBad };

    /// Takes a piece off the front of `bytes`. kData: `data` is a view into what was `bytes`. Call again with what is
    /// left until kNeedMore (all was taken) or an end.
    Status next(std::string_view& bytes, std::string_view& data) noexcept;

    bool done() const noexcept { return state_ == State::kEnd; }

private:
    enum class State : std::uint8_t {
        kSize,
        kExtension,
        kSizeLf,
        kData,
        kDataCr,
        kDataLf,
        kTrailerStart,
        kTrailerName,
        kTrailer,
        kTrailerLf,
        kEndLf,
        kEnd,
        kBad
    };

    void take_frame(std::string_view& bytes) noexcept;
    Status step(char c) noexcept;

    State state_ = State::kSize;
    std::uint64_t size_ = 0;
    unsigned digits_ = 0;
    std::size_t extension_bytes_ = 0;
    std::size_t extension_bytes_total_ = 0;
    std::size_t trailer_bytes_ = 0;
    std::size_t trailer_fields_ = 0;
};

} // namespace parley::net

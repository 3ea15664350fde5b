#include "net/http_chunked.hpp"

#include <algorithm>

#include "core/hex.hpp"
#include "net/http_chars.hpp"

namespace parley::net {

using namespace http_chars;

ChunkedReader::Status ChunkedReader::next(std::string_view& bytes, std::string_view& data) noexcept {
    while (!bytes.empty()) {
        if (state_ == State::kEnd) return Status::kDone;
        if (state_ == State::kBad) return Status::kBad;
        if (state_ == State::kData) {
            auto const n = static_cast<std::size_t>(std::min<std::uint64_t>(size_, bytes.size()));
            data = bytes.substr(0, n);
            bytes.remove_prefix(n);
            size_ -= n;
            if (size_ == 0) state_ = State::kDataCr;
            return Status::kData;
        }
        take_frame(bytes);
        if (bytes.empty() || state_ == State::kData) continue;
        auto const status = step(bytes.front());
        if (status == Status::kBad) {
            state_ = State::kBad;
            return status;
        }
        bytes.remove_prefix(1);
        if (status == Status::kDone) return status;
    }
    return state_ == State::kEnd ? Status::kDone : Status::kNeedMore;
}

// What nearly always stands between two pieces of data, in one go. What it does not know it leaves to step().
void ChunkedReader::take_frame(std::string_view& bytes) noexcept {
    if (state_ == State::kDataCr && bytes.starts_with("\r\n")) {
        bytes.remove_prefix(2);
        state_ = State::kSize;
    }
    if (state_ != State::kSize || digits_ != 0) return;
    constexpr std::size_t kUsualDigitsMax = 8;
    std::uint64_t size = 0;
    std::size_t digits = 0;
    for (; digits < std::min(bytes.size(), kUsualDigitsMax); ++digits) {
        auto const digit = core::hex_value(bytes[digits]);
        if (digit < 0) break;
        size = size * 16 + static_cast<unsigned>(digit);
    }
    if (size == 0 || bytes.substr(digits, 2) != "\r\n") return;
    bytes.remove_prefix(digits + 2);
    size_ = size;
    state_ = State::kData;
}

ChunkedReader::Status ChunkedReader::step(char c) noexcept {
    auto const go = [this](State next) {
        state_ = next;
        return Status::kNeedMore;
    };
    switch (state_) {
        case State::kSize: {
            auto const digit = core::hex_value(c);
            if (digit >= 0) {
                if (++digits_ > 15) return Status::kBad;
                size_ = size_ * 16 + static_cast<unsigned>(digit);
                return Status::kNeedMore;
            }
            if (digits_ == 0) return Status::kBad;
            if (c == '\r') return go(State::kSizeLf);
            if (c != ';') return Status::kBad;
            extension_bytes_ = 0;
            return go(State::kExtension);
        }
        case State::kExtension:
            if (c == '\r') return go(State::kSizeLf);
            if (!is(c, kValue) || ++extension_bytes_ > kExtensionBytesMax ||
                ++extension_bytes_total_ > kExtensionBytesTotalMax) {
                return Status::kBad;
            }
            return Status::kNeedMore;
        case State::kSizeLf:
            if (c != '\n') return Status::kBad;
            digits_ = 0;
            return go(size_ == 0 ? State::kTrailerStart : State::kData);
        case State::kDataCr:
            return c == '\r' ? go(State::kDataLf) : Status::kBad;
        case State::kDataLf:
            return c == '\n' ? go(State::kSize) : Status::kBad;
        case State::kTrailerStart:
            if (c == '\r') return go(State::kEndLf);
            if (!is(c, kToken) || ++trailer_fields_ > kTrailerFieldsMax) return Status::kBad;
            ++trailer_bytes_;
            return go(State::kTrailerName);
        case State::kTrailerName:
            if (c == ':') return go(State::kTrailer);
            return is(c, kToken) && ++trailer_bytes_ <= kTrailerBytesMax ? Status::kNeedMore : Status::kBad;
        case State::kTrailer:
            if (c == '\r') return go(State::kTrailerLf);
            return is(c, kValue) && ++trailer_bytes_ <= kTrailerBytesMax ? Status::kNeedMore : Status::kBad;
        case State::kTrailerLf:
            return c == '\n' ? go(State::kTrailerStart) : Status::kBad;
        case State::kEndLf:
            if (c != '\n') return Status::kBad;
            state_ = State::kEnd;
            return Status::kDone;
        case State::kData:
        case State::kEnd:
        case State::kBad:
            break;
    }
    return Status::kBad;
}

} // namespace parley::net

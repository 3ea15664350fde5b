#include "net/inflate.hpp"

#include <zlib.h>

namespace parley::net {
namespace {

constexpr std::size_t kPieceBytes = 64 * 1024;
constexpr int kPiecesPerStep = 8;
constexpr int kGzipOnly = 16 + MAX_WBITS;

} // namespace

struct Gunzip::Stream {
    Stream() { ready = inflateInit2(&z, kGzipOnly) == Z_OK; }
    ~Stream() {
        if (ready) inflateEnd(&z);
    }
    Stream(Stream const&) = delete;
    Stream& operator=(Stream const&) = delete;

    z_stream z{};
    bool ready = false;
};

Gunzip::Gunzip(std::string_view bytes, std::size_t bytes_max)
    : stream_(std::make_unique<Stream>()), bytes_max_(bytes_max) {
    stream_->z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_->z.avail_in = static_cast<uInt>(bytes.size());
}

Gunzip::~Gunzip() = default;

core::Result<bool> Gunzip::step() {
    auto& z = stream_->z;
    if (!stream_->ready) return core::make_error(core::Errc::kInternal, "zlib cannot start.");
    for (auto piece = 0; piece < kPiecesPerStep; ++piece) {
        auto const before = out_.size();
        out_.resize(before + kPieceBytes);
        z.next_out = reinterpret_cast<Bytef*>(out_.data() + before);
        z.avail_out = static_cast<uInt>(kPieceBytes);
        auto const status = inflate(&z, Z_NO_FLUSH);
        out_.resize(before + kPieceBytes - z.avail_out);
        if (out_.size() > bytes_max_) {
            return core::make_error(core::Errc::kPayloadTooLarge, "The request body is too large once decompressed.");
        }
        if (status == Z_STREAM_END) {
            if (z.avail_in == 0) return true;
            return core::make_error(core::Errc::kInvalidValue, "There are bytes behind the gzip data.");
        }
        if (status != Z_OK || (z.avail_in == 0 && z.avail_out != 0)) {
            return core::make_error(core::Errc::kInvalidValue, "The request body is not sound gzip data.");
        }
    }
    return false;
}

} // namespace parley::net

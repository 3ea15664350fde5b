#include "net/inflate.hpp"

#include <zlib.h>

#include <algorithm>

namespace parley::net {

core::Result<std::string> gunzip(std::string_view bytes, std::size_t bytes_max) {
    constexpr std::size_t kStepBytes = 64 * 1024;
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    z_stream stream{};
    if (inflateInit2(&stream, kGzipOnly) != Z_OK) return core::make_error(core::Errc::kInternal, "zlib cannot start.");
    struct End {
        z_stream& stream;
        ~End() { inflateEnd(&stream); }
    } const end{stream};

    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(bytes.size());
    std::string out;
    for (;;) {
        auto const before = out.size();
        out.resize(before + kStepBytes);
        stream.next_out = reinterpret_cast<Bytef*>(out.data() + before);
        stream.avail_out = static_cast<uInt>(kStepBytes);
        auto const status = inflate(&stream, Z_NO_FLUSH);
        out.resize(before + kStepBytes - stream.avail_out);
        if (out.size() > bytes_max) {
            return core::make_error(core::Errc::kPayloadTooLarge, "The request body is too large once decompressed.");
        }
        if (status == Z_STREAM_END) break;
        if (status != Z_OK || (stream.avail_in == 0 && stream.avail_out != 0)) {
            return core::make_error(core::Errc::kInvalidValue, "The request body is not sound gzip data.");
        }
    }
    if (stream.avail_in != 0)
        return core::make_error(core::Errc::kInvalidValue, "There are bytes behind the gzip data.");
    return out;
}

} // namespace parley::net

// The gate in front of everything: request heads, response heads and chunked bodies, from any bytes.
// Properties: no crash; whatever is accepted is unambiguous; a prefix never says more than the whole; splitting a body
// changes nothing.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "net/http_chunked.hpp"
#include "net/http_head.hpp"

namespace {

using parley::net::BodyKind;
using parley::net::ChunkedReader;
using parley::net::HeadStatus;

void require(bool holds) {
    if (!holds) std::abort();
}

void check_request(std::string_view bytes) {
    parley::net::RequestHead head;
    auto const whole = parley::net::parse_request_head(bytes, {}, head);
    if (whole.status == HeadStatus::kBad) {
        require(whole.http_status >= 400 && whole.http_status <= 505 && !whole.reason.empty());
        return;
    }
    if (whole.status == HeadStatus::kNeedMore) return;
    require(whole.bytes <= bytes.size() && bytes.substr(0, whole.bytes).ends_with("\r\n\r\n"));
    require(head.path.starts_with('/') || (head.target == "*" && head.method == "OPTIONS"));
    require(head.count("content-length") + head.count("transfer-encoding") <= 1);
    require(head.count("host") <= 1);
    require((head.body == BodyKind::kChunked) == (head.count("transfer-encoding") == 1));
    for (auto const& field : head.fields) {
        require(!field.name.empty() &&
                field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
    }
    for (std::size_t cut = 0; cut < whole.bytes && cut < 256; ++cut) {
        parley::net::RequestHead part;
        require(parley::net::parse_request_head(bytes.substr(0, cut), {}, part).status == HeadStatus::kNeedMore);
    }
}

struct Decoded {
    std::string body;
    std::size_t used = 0;
    ChunkedReader::Status end = ChunkedReader::Status::kNeedMore;
};

Decoded decode(std::string_view bytes, std::size_t step) {
    ChunkedReader reader;
    Decoded out;
    for (std::size_t at = 0; at < bytes.size() && out.end == ChunkedReader::Status::kNeedMore; at += step) {
        auto piece = bytes.substr(at, step);
        auto const size = piece.size();
        std::string_view data;
        out.end = reader.next(piece, data);
        while (out.end == ChunkedReader::Status::kData) {
            out.body.append(data);
            out.end = reader.next(piece, data);
        }
        out.used = at + size - piece.size();
    }
    return out;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    std::string_view const bytes(reinterpret_cast<char const*>(data), size);
    check_request(bytes);
    parley::net::ResponseHead response;
    auto const answered = parley::net::parse_response_head(bytes, {}, false, response);
    if (answered.status == HeadStatus::kDone) require(response.status >= 100 && response.status <= 999);

    auto const whole = decode(bytes, bytes.size() + 1);
    auto const single = decode(bytes, 1);
    require(whole.body == single.body && whole.end == single.end);
    if (whole.end == ChunkedReader::Status::kDone) require(whole.used == single.used);
    return 0;
}

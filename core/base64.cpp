#include "core/base64.hpp"

#include <cstdint>

namespace parley::core {
namespace {

constexpr std::string_view kStandard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kUrl = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string encode(std::string_view bytes, std::string_view alphabet, bool padded) {
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        auto const n = bytes.size() - i < 3 ? bytes.size() - i : 3;
        std::uint32_t group = 0;
        for (std::size_t k = 0; k < 3; ++k)
            group = group << 8 | (k < n ? static_cast<std::uint8_t>(bytes[i + k]) : 0U);
        for (std::size_t k = 0; k <= n; ++k)
            out.push_back(alphabet[group >> (18 - 6 * k) & 63]);
        if (padded) out.append(3 - n, '=');
    }
    return out;
}

} // namespace

std::string base64(std::string_view bytes) {
    return encode(bytes, kStandard, true);
}

std::string base64url(std::string_view bytes) {
    return encode(bytes, kUrl, false);
}

} // namespace parley::core

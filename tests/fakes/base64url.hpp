// Reads base64url (RFC 4648 §5), which the product only writes. For tests that look into tokens.
#pragma once

#include <string>
#include <string_view>

namespace parley::fakes {

inline std::string decode_base64url(std::string_view text) {
    static constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::string out;
    unsigned bits = 0;
    int count = 0;
    for (auto const c : text) {
        bits = bits << 6 | static_cast<unsigned>(kAlphabet.find(c) & 63);
        count += 6;
        if (count < 8) continue;
        count -= 8;
        out.push_back(static_cast<char>(bits >> count & 255));
    }
    return out;
}

} // namespace parley::fakes

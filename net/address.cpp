#include "net/address.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <string>

#include <arpa/inet.h>

namespace parley::net {
namespace {

struct Block {
    std::uint32_t prefix;
    int bits;
};

// RFC 6890 and later registrations: everything that is not the internet.
constexpr std::array kPrivateBlocks{Block{0x00000000, 8},  Block{0x0a000000, 8},  Block{0x64400000, 10},
                                    Block{0xa9fe0000, 16}, Block{0xac100000, 12}, Block{0xc0000000, 24},
                                    Block{0xc0000200, 24}, Block{0xc0a80000, 16}, Block{0xc6120000, 15},
                                    Block{0xc6336400, 24}, Block{0xcb007100, 24}, Block{0xe0000000, 3}};

AddressKind kind_of(std::uint32_t v4) noexcept {
    if (v4 >> 24 == 127) return AddressKind::kLoopback;
    for (auto const& block : kPrivateBlocks) {
        if ((v4 ^ block.prefix) >> (32 - block.bits) == 0) return AddressKind::kPrivate;
    }
    return AddressKind::kPublic;
}

std::uint32_t word(std::uint8_t const* bytes) noexcept {
    return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
}

AddressKind kind_of(in6_addr const& v6) noexcept {
    auto const* const b = v6.s6_addr;
    auto const starts = [b](std::initializer_list<std::uint8_t> prefix) {
        return std::memcmp(b, prefix.begin(), prefix.size()) == 0;
    };
    if (IN6_IS_ADDR_LOOPBACK(&v6)) return AddressKind::kLoopback;
    if (IN6_IS_ADDR_V4MAPPED(&v6) || IN6_IS_ADDR_V4COMPAT(&v6)) return kind_of(word(b + 12));
    if (starts({0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}))
        return AddressKind::kPrivate;                                   // NAT64 of a network's own, RFC 8215
    if (starts({0x00, 0x64, 0xff, 0x9b})) return kind_of(word(b + 12)); // NAT64
    if (starts({0x20, 0x02})) return kind_of(word(b + 2));              // 6to4
    auto const inside =
        (b[0] & 0xfe) == 0xfc || (b[0] == 0xfe && b[1] >= 0x80) || b[0] == 0xff || IN6_IS_ADDR_UNSPECIFIED(&v6);
    return inside ? AddressKind::kPrivate : AddressKind::kPublic;
}

} // namespace

AddressKind address_kind(std::string_view host) noexcept {
    if (host.empty() || host.size() > 64) return AddressKind::kNone;
    if (host.back() == '.') host.remove_suffix(1);
    std::array<char, 65> text{};
    host = host.substr(0, host.find('%')); // a zone says on which link: fe80::1%eth0, in a URL %25eth0
    std::memcpy(text.data(), host.data(), host.size());
    in6_addr v6{};
    if (::inet_pton(AF_INET6, text.data(), &v6) == 1) return kind_of(v6);
    in_addr v4{};
    if (::inet_aton(text.data(), &v4) != 0) return kind_of(ntohl(v4.s_addr));
    return AddressKind::kNone;
}

std::string network_of(std::string_view address) {
    auto const is_v6 = std::count(address.begin(), address.end(), ':') > 1;
    std::string host(is_v6 ? address : address.substr(0, address.find(':')));
    if (address.starts_with('[')) host = std::string(address.substr(1, address.find(']') - 1));
    std::array<char, INET6_ADDRSTRLEN> text{};
    in_addr v4{};
    in6_addr v6{};
    if (address_kind(host) != AddressKind::kPublic) return std::string(address);
    if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) {
        v4.s_addr &= htonl(0xffffff00);
        return std::string(::inet_ntop(AF_INET, &v4, text.data(), text.size())) + "/24";
    }
    if (::inet_pton(AF_INET6, host.c_str(), &v6) != 1) return std::string(address);
    if (IN6_IS_ADDR_V4MAPPED(&v6)) return network_of(host.substr(host.rfind(':') + 1));
    std::fill(std::begin(v6.s6_addr) + 6, std::end(v6.s6_addr), std::uint8_t{0});
    return std::string(::inet_ntop(AF_INET6, &v6, text.data(), text.size())) + "/48";
}

} // namespace parley::net

// What kind of place an address names. For hosts that come from outside, before anybody connects to them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace parley::net {

enum class AddressKind : std::uint8_t {
    kNone,     // a name, or nothing
    kPublic,   // routed on the internet
    kLoopback, // this machine
    kPrivate,  // private, link-local (cloud metadata), carrier-grade NAT, multicast, reserved, and their IPv6 wrappings
};

/// Reads IPv4 and IPv6 as resolvers do: also 127.1, 0x7f000001 and 2130706433. No brackets, no port.
AddressKind address_kind(std::string_view host) noexcept;

/// "8.8.8.0/24" or "2606:4700::/48" of a public address, which may name a household; others as they are. Port or not.
std::string network_of(std::string_view address);

} // namespace parley::net

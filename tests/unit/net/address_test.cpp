#include "net/address.hpp"

#include <gtest/gtest.h>

namespace parley::net {
namespace {

TEST(Address, KnowsWhatIsInside) {
    for (auto const* host :
         {"127.0.0.1", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "::1", "::ffff:127.0.0.1", "127.9.9.9."}) {
        EXPECT_EQ(address_kind(host), AddressKind::kLoopback) << host;
    }
    for (auto const* host : {"0.0.0.0",
                             "10.1.2.3",
                             "100.64.0.1",
                             "169.254.169.254",
                             "172.16.0.1",
                             "172.31.255.255",
                             "192.0.0.8",
                             "192.168.1.1",
                             "198.19.0.1",
                             "224.0.0.1",
                             "255.255.255.255",
                             "::",
                             "fc00::1",
                             "fd12::1",
                             "fe80::1",
                             "fec0::1",
                             "ff02::1",
                             "::ffff:10.0.0.1",
                             "64:ff9b::a9fe:a9fe",
                             "64:ff9b:1::808:808",
                             "fe80::1%eth0",
                             "fe80::1%25eth0",
                             "2002:0a00:0001::"}) {
        EXPECT_EQ(address_kind(host), AddressKind::kPrivate) << host;
    }
    for (auto const* host : {"8.8.8.8", "172.32.0.1", "100.128.0.1", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"}) {
        EXPECT_EQ(address_kind(host), AddressKind::kPublic) << host;
    }
    for (auto const* host : {"", "example.org", "127.evil.example", "localhost", "1.2.3.4.5"}) {
        EXPECT_EQ(address_kind(host), AddressKind::kNone) << host;
    }
}

TEST(Address, NetworkOfWhoMayBeAHousehold) {
    EXPECT_EQ(network_of("8.8.8.8"), "8.8.8.0/24");
    EXPECT_EQ(network_of("8.8.8.8:4711"), "8.8.8.0/24");
    EXPECT_EQ(network_of("2606:4700:1:2::1111"), "2606:4700:1::/48");
    EXPECT_EQ(network_of("[2606:4700::1111]:4711"), "2606:4700::/48");
    EXPECT_EQ(network_of("[::ffff:8.8.8.8]:4711"), "8.8.8.0/24");
    for (auto const* const inside : {"127.0.0.1:80", "10.1.2.3:80", "[::1]:80", "[fe80::1%eth0]:80", "a name", ""})
        EXPECT_EQ(network_of(inside), inside);
}

} // namespace
} // namespace parley::net

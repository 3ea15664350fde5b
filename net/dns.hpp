// Names to addresses without ever blocking a loop: getaddrinfo on a small thread pool, answers cached per loop.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/thread_pool.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/context.hpp"
#include "core/task.hpp"
#include "net/loop.hpp"

namespace parley::net {

class Resolver {
public:
    static constexpr std::chrono::seconds kCacheTtl{30};
    static constexpr std::size_t kCacheEntriesMax = 256;

    using Endpoints = std::vector<boost::asio::ip::tcp::endpoint>;

    /// `pool` is shared by all loops and outlives them.
    Resolver(Loop& loop, boost::asio::thread_pool& pool);
    ~Resolver();
    Resolver(Resolver const&) = delete;
    Resolver& operator=(Resolver const&) = delete;

    /// Errors: kUpstreamUnavailable (no such name), kUpstreamTimeout at `until`, kCancelled.
    core::Task<Endpoints> resolve(core::Context const& context, std::string const& host, std::uint16_t port,
                                  core::SteadyTime until);

private:
    struct Lookup;
    struct Home;
    std::shared_ptr<Lookup> look_up(std::string const& host);

    struct Entry {
        std::vector<boost::asio::ip::address> addresses;
        core::SteadyTime expires;
    };

    Loop& loop_;
    boost::asio::thread_pool& pool_;
    std::map<std::string, Entry> cache_;
    std::shared_ptr<Home> home_; // shared with the searches, which may end after us and after the loop
    // A name that hangs takes one thread, however many ask.
    using UnderWay = std::map<std::string, std::shared_ptr<Lookup>>;
    std::shared_ptr<UnderWay> under_way_ = std::make_shared<UnderWay>();
};

} // namespace parley::net

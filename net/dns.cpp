#include "net/dns.hpp"

#include <cstring>
#include <mutex>
#include <utility>

#include <netdb.h>

#include "net/broadcast.hpp"

namespace parley::net {
namespace {

namespace ip = boost::asio::ip;

// Blocking; runs on the pool.
std::vector<ip::address> look_up_now(std::string const& host, std::string& fault) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* found = nullptr;
    auto const status = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
    std::vector<ip::address> addresses;
    if (status != 0) {
        fault = ::gai_strerror(status);
        return addresses;
    }
    std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> const owner(found, &::freeaddrinfo);
    for (auto const* one = found; one; one = one->ai_next) {
        if (one->ai_family == AF_INET) {
            ip::address_v4::bytes_type bytes;
            std::memcpy(bytes.data(), &reinterpret_cast<sockaddr_in const*>(one->ai_addr)->sin_addr, bytes.size());
            addresses.emplace_back(ip::address_v4(bytes));
        } else if (one->ai_family == AF_INET6) {
            auto const* const v6 = reinterpret_cast<sockaddr_in6 const*>(one->ai_addr);
            ip::address_v6::bytes_type bytes;
            std::memcpy(bytes.data(), &v6->sin6_addr, bytes.size());
            addresses.emplace_back(ip::address_v6(bytes, v6->sin6_scope_id));
        }
    }
    if (addresses.empty()) fault = "no address";
    return addresses;
}

Resolver::Endpoints with_port(std::vector<ip::address> const& addresses, std::uint16_t port) {
    Resolver::Endpoints endpoints;
    endpoints.reserve(addresses.size());
    for (auto const& address : addresses)
        endpoints.emplace_back(address, port);
    return endpoints;
}

} // namespace

// On the loop, but for the search itself.
struct Resolver::Lookup {
    explicit Lookup(Loop& loop) : changed(loop) {}
    Broadcast changed;
    std::vector<ip::address> addresses;
    std::string fault;
    bool answered = false;
};

// Where a search brings what it has found: to the loop, for as long as there is one.
struct Resolver::Home {
    explicit Home(Loop& of) : loop(&of) {}
    std::mutex mutex;
    Loop* loop; // null: nobody waits any more
};

Resolver::Resolver(Loop& loop, boost::asio::thread_pool& pool)
    : loop_(loop), pool_(pool), home_(std::make_shared<Home>(loop)) {}

Resolver::~Resolver() {
    std::lock_guard const lock(home_->mutex);
    home_->loop = nullptr;
}

std::shared_ptr<Resolver::Lookup> Resolver::look_up(std::string const& host) {
    auto& known = (*under_way_)[host];
    if (known) return known;
    known = std::make_shared<Lookup>(loop_);
    // A Lookup belongs to the loop: a search, which may be the last to end, must not keep one.
    auto work = [home = home_, waiting = std::weak_ptr(under_way_), host] {
        std::string fault;
        auto addresses = look_up_now(host, fault);
        auto deliver = [waiting, host, addresses = std::move(addresses), fault = std::move(fault)]() mutable {
            auto const under_way = waiting.lock();
            if (!under_way) return;
            auto const lookup = under_way->at(host);
            under_way->erase(host);
            lookup->addresses = std::move(addresses);
            lookup->fault = std::move(fault);
            lookup->answered = true;
            lookup->changed.notify_all();
        };
        std::lock_guard const lock(home->mutex);
        if (home->loop) home->loop->post(std::move(deliver));
    };
    boost::asio::post(pool_, std::move(work));
    return known;
}

core::Task<Resolver::Endpoints> Resolver::resolve(core::Context const& context, std::string const& host,
                                                  std::uint16_t port, core::SteadyTime until) {
    boost::system::error_code not_an_address;
    auto const literal = ip::make_address(host, not_an_address);
    if (!not_an_address) co_return Endpoints{{literal, port}};
    auto const cached = cache_.find(host);
    if (cached != cache_.end() && cached->second.expires > std::chrono::steady_clock::now()) {
        co_return with_port(cached->second.addresses, port);
    }

    auto const lookup = look_up(host); // outlives us when we stop waiting
    core::Context const wait{context.cancellation, until};
    while (!lookup->answered && !context.cancellation.cancelled() && std::chrono::steady_clock::now() < until)
        co_await lookup->changed.wait(wait);
    if (context.cancellation.cancelled()) co_return core::make_error(core::Errc::kCancelled, "The client went away.");
    if (!lookup->answered) {
        co_return core::make_error(core::Errc::kUpstreamTimeout,
                                   "The name '" + host + "' could not be resolved in time.");
    }
    if (lookup->addresses.empty()) {
        co_return core::make_error(core::Errc::kUpstreamUnavailable, "The name '" + host + "' cannot be resolved.", {},
                                   lookup->fault);
    }
    if (cache_.size() >= kCacheEntriesMax) cache_.clear();
    cache_[host] = Entry{lookup->addresses, std::chrono::steady_clock::now() + kCacheTtl};
    co_return with_port(lookup->addresses, port);
}

} // namespace parley::net

// What one loop owns on behalf of all providers: its connections and its access tokens.
#pragma once

#include <boost/asio/thread_pool.hpp>

#include <map>
#include <string>

#include "net/http_client.hpp"
#include "net/loop.hpp"

namespace parley::providers {

class Session {
public:
    /// `resolver_pool` is shared by all loops and outlives them.
    Session(net::Loop& loop, boost::asio::thread_pool& resolver_pool) : loop(loop), http(loop, resolver_pool) {}

    struct Token {
        std::string value;
        core::SteadyTime expires;
    };

    // Series of a provider, found once: looking one up takes a lock.
    struct Metrics {
        core::Counter* answered = nullptr; // outcome 2xx
        core::Histogram* first_byte = nullptr;
    };

    net::Loop& loop;
    net::HttpClient http;
    std::map<std::string, Token> tokens;    // by provider name; see entra_token.hpp
    std::map<std::string, Metrics> metrics; // by provider name; see http_provider.cpp
};

} // namespace parley::providers

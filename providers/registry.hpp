// Makes providers from their settings: the one place that knows which type speaks which dialect.
#pragma once

#include <boost/json/object.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/result.hpp"
#include "core/secret.hpp"
#include "providers/provider.hpp"

namespace parley::providers {

struct ProviderOptions {
    struct Entra {
        std::string client_id;
        core::Secret client_secret;
        std::string token_url;
    };
    struct Timeouts {
        std::chrono::milliseconds connect{5'000};
        std::chrono::milliseconds first_byte{300'000};
        std::chrono::milliseconds idle{60'000};
        std::chrono::milliseconds total{600'000};
    };

    struct Endpoint {
        std::string base_url;
        core::Secret api_key;
        double weight = 1;
    };

    std::string name;
    std::string type;
    std::vector<Endpoint> endpoints; // at least one, but for demo
    std::optional<Entra> entra = {};
    std::vector<std::pair<std::string, core::Secret>> headers = {};
    Timeouts timeouts = {};
    std::size_t max_connections = 4096; // per loop
    std::string api_version = {};
    std::string ca_file = {};
    int max_retries = 0;
};

/// Errors: kInvalidValue in plain words (unknown type, bad URL, unreadable CA file).
core::Result<std::shared_ptr<Provider const>> make_provider(ProviderOptions const& options);

} // namespace parley::providers

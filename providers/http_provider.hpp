// Carries a dialect's bytes over HTTP: credentials, content types, errors. The same for every real provider.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/secret.hpp"
#include "net/http_client.hpp"
#include "providers/dialect.hpp"
#include "providers/entra_token.hpp"
#include "providers/provider.hpp"

namespace parley::providers {

enum class KeyHeader : std::uint8_t { kBearer, kApiKey }; // Authorization: Bearer … | api-key: … (Azure)

/// One way to the provider's models: an address, or the same address under another key.
struct HttpEndpoint {
    std::shared_ptr<net::Upstream const> upstream;
    core::Secret api_key = {}; // empty = none is sent
    double weight = 1;         // its share of the calls, against the others'
};

struct HttpProviderOptions {
    std::string name;
    std::string type;
    std::vector<HttpEndpoint> endpoints; // at least one
    KeyHeader key_header = KeyHeader::kBearer;
    std::optional<EntraOptions> entra = {}; // wins over the endpoints' keys
    std::vector<std::pair<std::string, core::Secret>> headers = {};
    int max_retries = 0;
};

std::unique_ptr<Provider const> make_http_provider(HttpProviderOptions options, std::unique_ptr<Dialect const> dialect);

} // namespace parley::providers

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

struct HttpProviderOptions {
    std::string name;
    std::string type;
    std::shared_ptr<net::Upstream const> upstream;
    KeyHeader key_header = KeyHeader::kBearer;
    core::Secret api_key;                   // empty = none is sent
    std::optional<EntraOptions> entra = {}; // wins over api_key
    std::vector<std::pair<std::string, core::Secret>> headers = {};
};

std::unique_ptr<Provider const> make_http_provider(HttpProviderOptions options, std::unique_ptr<Dialect const> dialect);

} // namespace parley::providers

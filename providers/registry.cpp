#include "providers/registry.hpp"

#include <algorithm>
#include <exception>

#include "core/header_text.hpp"
#include "net/tls.hpp"
#include "net/url.hpp"
#include "providers/demo_provider.hpp"
#include "providers/dialect.hpp"
#include "providers/http_provider.hpp"

namespace parley::providers {
namespace {

std::shared_ptr<net::Upstream> upstream_for(ProviderOptions const& options, net::Url url) {
    auto upstream = std::make_shared<net::Upstream>();
    upstream->name = options.name;
    upstream->url = std::move(url);
    if (upstream->url.tls) upstream->tls = net::make_tls_client_context({options.ca_file});
    upstream->timeouts = {options.timeouts.connect, options.timeouts.first_byte, options.timeouts.idle,
                          options.timeouts.total};
    upstream->connections_max = options.max_connections;
    return upstream;
}

void strip_suffix(std::string& text, std::string_view suffix) {
    if (text.ends_with(suffix)) text.resize(text.size() - suffix.size());
}

// Azure's paths start at the resource: /openai/v1/… or /openai/deployments/…; people paste any part of that.
bool settle_azure_path(std::string& path, std::string const& api_version) {
    auto const v1 =
        path.ends_with("/openai/v1") || api_version == "v1" || api_version == "preview" || api_version == "latest";
    strip_suffix(path, "/openai/v1");
    strip_suffix(path, "/openai");
    return v1;
}

struct Spoken {
    std::unique_ptr<Dialect> dialect;
    KeyHeader key_header = KeyHeader::kBearer;
};

core::Result<Spoken> dialect_for(ProviderOptions const& options, net::Url& url) {
    auto const& type = options.type;
    if (type == "openai") return Spoken{make_openai_dialect(url.host == "api.openai.com")};
    if (type == "openrouter") return Spoken{make_openrouter_dialect()};
    if (type == "ollama") {
        strip_suffix(url.path, "/v1"); // the address of its OpenAI face, which is not the one we use
        strip_suffix(url.path, "/api");
        return Spoken{make_ollama_dialect()};
    }
    if (type == "azure_openai" || type == "azure_openai_cc") {
        auto const v1 = settle_azure_path(url.path, options.api_version);
        auto const version = v1 && options.api_version == "v1" ? std::string() : options.api_version;
        auto const query = v1 && version != "preview" ? std::string() : version;
        auto dialect =
            type == "azure_openai" ? make_azure_responses_dialect(query, v1) : make_azure_chat_dialect(query, v1);
        return Spoken{std::move(dialect), KeyHeader::kApiKey};
    }
    return core::make_error(core::Errc::kInvalidValue, "'" + type + "' is not a provider type");
}

// The configuration has told its faults; whatever else comes here must not end a head early either.
core::Result<> check_headers(ProviderOptions const& options) {
    auto sound = std::all_of(options.endpoints.begin(), options.endpoints.end(),
                             [](auto const& endpoint) { return core::is_header_value(endpoint.api_key.reveal()); });
    for (auto const& [name, value] : options.headers)
        sound = sound && core::is_header_name(name) && core::is_header_value(value.reveal());
    if (sound) return {};
    return core::make_error(core::Errc::kInvalidValue,
                            "a key or header has a line end or control character in it, and cannot be sent");
}

} // namespace

core::Result<std::shared_ptr<Provider const>> make_provider(ProviderOptions const& options) {
    if (options.type == "demo") return std::shared_ptr<Provider const>(make_demo_provider(options.name));
    if (auto const sound = check_headers(options); !sound) return sound.error();
    HttpProviderOptions made;
    made.name = options.name;
    made.type = options.type;
    made.headers = options.headers;
    made.max_retries = options.max_retries;
    std::unique_ptr<Dialect> dialect; // of the first endpoint: the others serve the same API
    try {
        for (auto const& endpoint : options.endpoints) {
            auto url = net::parse_url(endpoint.base_url);
            if (!url) return url.error();
            auto spoken = dialect_for(options, *url);
            if (!spoken) return spoken.error();
            if (!dialect) dialect = std::move(spoken->dialect);
            made.key_header = spoken->key_header;
            made.endpoints.push_back({upstream_for(options, std::move(*url)), endpoint.api_key, endpoint.weight});
        }
        if (options.entra) {
            auto token_url = net::parse_url(options.entra->token_url);
            if (!token_url) return token_url.error();
            auto server = upstream_for(options, std::move(*token_url));
            server->name = options.name + " (Entra)";
            made.entra = EntraOptions{options.entra->client_id, options.entra->client_secret, std::move(server)};
        }
    } catch (std::exception const& e) {
        return core::make_error(core::Errc::kInvalidValue, e.what());
    }
    return std::shared_ptr<Provider const>(make_http_provider(std::move(made), std::move(dialect)));
}

} // namespace parley::providers

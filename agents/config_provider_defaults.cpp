// What providers get without being told: defaults of each type and the variables of the environment.
// Pure but for the lookup it is given; see config_parts.hpp.
// Names and defaults are those of the original service (settings.py of ai-agent-service) where it had them.
#include <boost/url/parse.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

#include "agents/config_parts.hpp"
#include "core/header_text.hpp"

namespace parley::agents {
namespace {

// azure_openai speaks the Responses API, azure_openai_cc chat completions; both have the same account.
constexpr std::array kTypes{
    ProviderType{"openai", "OPENAI", "https://api.openai.com/v1", "gpt-4.1-mini"},
    ProviderType{"azure_openai", "AZURE_OPENAI", "", "gpt-4.1-nano", true},
    ProviderType{"azure_openai_cc", "AZURE_OPENAI", "", "gpt-4.1-nano", true},
    ProviderType{"openrouter", "OPENROUTER", "https://openrouter.ai/api/v1", "openrouter/auto"},
    ProviderType{"ollama", "OLLAMA", "http://127.0.0.1:11434", "qwen3:4b"},
    ProviderType{"demo", "", "", "demo"},
};

constexpr std::string_view kAzureApiVersion = "2025-04-01-preview";
constexpr std::string_view kAzureResponsesSince = "2025-03-01-preview";
constexpr std::string_view kOpenAiHost = "api.openai.com";

std::string env_or_empty(EnvLookup const& env, std::string_view prefix, std::string_view name) {
    if (!env || prefix.empty()) return {};
    auto const value = env(std::string(prefix) + std::string(name)).value_or(std::string());
    return std::string(core::trimmed_header_value(value)); // a mounted secret ends in a line end
}

// The guide separates the models by commas, the code by bars.
std::vector<std::string> split_models(std::string_view list) {
    std::vector<std::string> out;
    while (!list.empty()) {
        auto const end = std::min(list.find_first_of(",|"), list.size());
        auto model = list.substr(0, end);
        auto const first = model.find_first_not_of(" \t");
        if (first != std::string_view::npos) {
            model = model.substr(first, model.find_last_not_of(" \t") - first + 1);
            out.emplace_back(model);
        }
        list.remove_prefix(std::min(end + 1, list.size()));
    }
    return out;
}

bool ends_with(std::string_view text, std::string_view end) noexcept {
    return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// People copy the address with the path of an API at its end; the dialects add theirs.
void trim_base_url(std::string& url, ProviderType const& type) {
    auto const trim = [&url](std::string_view end) {
        if (ends_with(url, end)) url.resize(url.size() - end.size());
    };
    auto const trim_slashes = [&url] {
        while (ends_with(url, "/"))
            url.pop_back();
    };
    trim_slashes();
    if (type.name == "ollama") {
        trim("/v1");
        trim("/api");
    }
    if (type.is_azure) trim("/openai");
    trim_slashes();
}

bool is_loopback(std::string_view host) noexcept {
    return host == "localhost" || host == "[::1]" || host.substr(0, 4) == "127.";
}

bool is_plain_http(std::string_view url) {
    auto const parsed = boost::urls::parse_uri({url.data(), url.size()});
    return parsed && parsed->scheme_id() == boost::urls::scheme::http; // HTTP:// is the same
}

// In small letters.
std::string host_of(std::string_view url) {
    auto const parsed = boost::urls::parse_uri({url.data(), url.size()});
    auto host = parsed ? std::string(parsed->encoded_host().data(), parsed->encoded_host().size()) : std::string();
    for (auto& c : host)
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return host;
}

void complete_entra(ProviderConfig& config, EnvLookup const& env, bool wanted) {
    auto const value = [&env](std::string_view name) { return env_or_empty(env, "AZURE_", name); };
    if (!config.entra) {
        if (!wanted || value("TENANT_ID").empty() || value("CLIENT_ID").empty() || value("CLIENT_SECRET").empty()) {
            return;
        }
        config.entra.emplace();
    }
    auto& entra = *config.entra;
    if (entra.tenant_id.empty()) entra.tenant_id = value("TENANT_ID");
    if (entra.client_id.empty()) entra.client_id = value("CLIENT_ID");
    if (entra.client_secret.empty()) entra.client_secret = core::Secret(value("CLIENT_SECRET"));
    if (entra.token_url.empty() && !entra.tenant_id.empty()) {
        entra.token_url = "https://login.microsoftonline.com/" + entra.tenant_id + "/oauth2/v2.0/token";
    }
}

std::vector<std::string> missing_entra(ProviderConfig::Entra const& entra) {
    std::vector<std::string> missing;
    if (entra.tenant_id.empty()) missing.emplace_back("AZURE_TENANT_ID");
    if (entra.client_id.empty()) missing.emplace_back("AZURE_CLIENT_ID");
    if (entra.client_secret.empty()) missing.emplace_back("AZURE_CLIENT_SECRET");
    return missing;
}

// What an endpoint leaves open, it has from its provider, but a key of the environment only with the address that goes
// with it. The provider's own are the first one's then.
void complete_endpoints(ProviderConfig& config, ProviderType const& type) {
    if (config.endpoints.empty()) return;
    for (auto& endpoint : config.endpoints) {
        if (endpoint.base_url.empty()) {
            endpoint.base_url = config.base_url;
            if (endpoint.api_key.empty()) endpoint.api_key = config.api_key;
        }
        trim_base_url(endpoint.base_url, type);
    }
    config.base_url = config.endpoints.front().base_url;
    config.api_key = config.endpoints.front().api_key;
}

bool needs_key(ProviderConfig const& config, ProviderType const& type) {
    if (has_header(config.headers, key_header(config, type))) return false;
    if (type.is_azure) return !config.entra;
    if (type.name == "openrouter") return true;
    return type.name == "openai" && host_of(config.base_url) == kOpenAiHost;
}

// Boost.URL 1.81 takes any digits, and wraps what is above 65535.
bool is_port(std::string_view digits) noexcept {
    std::uint32_t port = 0;
    auto const [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    return error == std::errc{} && end == digits.data() + digits.size() && port >= 1 && port <= 65'535;
}

// `inherits`: the environment was asked for the key, so its variable is what is missing.
std::string missing_parts(ProviderConfig const& config, ProviderType const& type, bool inherits) {
    std::vector<std::string> missing;
    auto const variable = [&type](std::string_view name) { return std::string(type.env_prefix) + std::string(name); };
    if (config.base_url.empty() && type.name != "demo") missing.push_back(variable("_BASE_URL"));
    auto const has_no_key = [](ProviderConfig::Endpoint const& one) { return one.api_key.empty(); };
    bool const no_key =
        needs_key(config, type) &&
        (config.api_key.empty() || std::any_of(config.endpoints.begin(), config.endpoints.end(), has_no_key));
    if (no_key && inherits) missing.push_back(variable("_API_KEY"));
    if (config.entra) {
        for (auto& name : missing_entra(*config.entra))
            missing.push_back(std::move(name));
    }
    if (!missing.empty()) return not_set(missing);
    if (no_key) return std::string("api_key is missing or empty") + (type.is_azure ? ", and there is no entra" : "");
    return {};
}

std::vector<ProviderConfig::Endpoint> all_endpoints(ProviderConfig const& config) {
    if (!config.endpoints.empty()) return config.endpoints;
    return {{config.base_url, config.api_key}};
}

// The address of one route in place of the API's. Only the end is quoted: the rest may hold what a variable said.
void warn_of_path(ProviderConfig const& config, std::string_view url, std::vector<std::string>& warnings) {
    for (std::string_view const route :
         {"/chat/completions", "/completions", "/responses", "/embeddings", "/api/chat"}) {
        if (!ends_with(url, route)) continue;
        warnings.push_back("provider " + in_quotes(config.name) + ": base_url ends in " + std::string(route) +
                           ", which is added to it for each call; it should end before that, as in https://host/v1");
        return;
    }
}

void add_warnings(ProviderConfig const& config, ProviderType const& type, std::vector<std::string>& warnings) {
    if (type.name == "azure_openai" && config.base_url.find("/openai/v1") == std::string::npos &&
        config.api_version < kAzureResponsesSince) {
        warnings.push_back("provider " + in_quotes(config.name) +
                           ": azure_openai uses the Responses API, which needs " + "api_version " +
                           std::string(kAzureResponsesSince) + " or later, not " + in_quotes(config.api_version) +
                           "; or use the type azure_openai_cc");
    }
    bool const sends_anyway = config.entra || has_header(config.headers, key_header(config, type));
    bool is_sent_plain = false;
    for (auto const& endpoint : all_endpoints(config)) {
        warn_of_path(config, endpoint.base_url, warnings);
        bool const sends_secret = sends_anyway || !endpoint.api_key.empty();
        is_sent_plain = is_sent_plain ||
                        (sends_secret && is_plain_http(endpoint.base_url) && !is_loopback(host_of(endpoint.base_url)));
    }
    if (is_sent_plain) {
        warnings.push_back("provider " + in_quotes(config.name) +
                           ": base_url is plain http, so the key crosses the network unencrypted");
    }
}

} // namespace

ProviderType const* find_provider_type(std::string_view name) noexcept {
    auto const* const type =
        std::find_if(kTypes.begin(), kTypes.end(), [name](ProviderType const& t) { return t.name == name; });
    return type == kTypes.end() ? nullptr : type;
}

std::string_view key_header(ProviderConfig const& config, ProviderType const& type) noexcept {
    return type.is_azure && !config.entra ? "api-key" : "authorization";
}

std::vector<std::string_view> provider_type_names() {
    std::vector<std::string_view> out;
    out.reserve(kTypes.size());
    for (auto const& type : kTypes)
        out.push_back(type.name);
    return out;
}

std::optional<std::string> base_url_problem(std::string_view url) {
    auto const parsed = boost::urls::parse_uri({url.data(), url.size()});
    if (!parsed) return "not a URL";
    auto const scheme = parsed->scheme_id();
    if (scheme != boost::urls::scheme::http && scheme != boost::urls::scheme::https) {
        return "not an http:// or https:// URL";
    }
    if (parsed->has_userinfo()) return "a URL with a user or password in it";
    if (parsed->encoded_host().empty()) return "a URL without a host";
    if (parsed->has_port() && !is_port({parsed->port().data(), parsed->port().size()}))
        return "a URL with a port that is not from 1 to 65535";
    if (parsed->has_query() || parsed->has_fragment()) return "a URL with a ? or # part";
    return std::nullopt;
}

void complete_provider(ProviderConfig& config, ProviderType const& type, EnvLookup const& env, bool own_base_url,
                       bool own_key, std::vector<std::string>& warnings) {
    auto const value = [&](std::string_view name) { return env_or_empty(env, type.env_prefix, name); };
    std::string broken_variable;
    if (!own_base_url && config.base_url.empty()) {
        std::string variable = std::string(type.env_prefix) + "_BASE_URL";
        config.base_url = value("_BASE_URL");
        if (config.base_url.empty() && type.is_azure) { // the name in the original's deployment guide
            config.base_url = value("_ENDPOINT");
            variable = "AZURE_OPENAI_ENDPOINT";
        }
        if (config.base_url.empty()) config.base_url = type.default_base_url;
        if (auto const problem = config.base_url.empty() ? std::nullopt : base_url_problem(config.base_url)) {
            broken_variable = variable + " is " + *problem;
            config.base_url.clear();
        }
    }
    trim_base_url(config.base_url, type);
    bool const inherits = !own_base_url && !own_key;
    auto const has_own_header = has_header(config.headers, key_header(config, type)); // it is sent in place of a key
    if (inherits && config.api_key.empty() && !config.entra && !has_own_header) {
        auto key = value("_API_KEY");
        if (core::is_header_value(key)) {
            config.api_key = core::Secret(std::move(key));
        } else if (broken_variable.empty()) {
            broken_variable = std::string(type.env_prefix) + "_API_KEY has a line end or control character in it";
        }
    }
    if (type.is_azure) {
        complete_entra(config, env, inherits && config.api_key.empty() && !has_own_header);
        if (config.api_version.empty()) config.api_version = value("_API_VERSION");
        if (config.api_version.empty()) config.api_version = kAzureApiVersion;
    }
    complete_endpoints(config, type);
    if (!own_base_url) {
        bool const told = !config.models.empty();
        if (!told) config.models = split_models(value("_MODEL_LIST"));
        if (!told) config.default_model = value("_DEFAULT_MODEL");
        if (config.default_model.empty() && config.models.empty()) config.default_model = type.default_model;
    }
    if (config.default_model.empty() && !config.models.empty()) config.default_model = config.models.front();
    if (!config.unavailable.empty()) return;
    config.unavailable = broken_variable.empty() ? missing_parts(config, type, inherits) : broken_variable;
    if (config.unavailable.empty()) add_warnings(config, type, warnings);
}

} // namespace parley::agents

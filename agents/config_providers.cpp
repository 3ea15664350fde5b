// The `providers` of agent_config.json, see config_parts.hpp.
// Owned by one load of the configuration.
// An entry that lacks a variable is kept and marked unavailable; one that is wrong is a fault.
#include <algorithm>
#include <array>

#include "agents/config_json.hpp"
#include "agents/config_parts.hpp"

namespace parley::agents {
namespace {

namespace json = boost::json;

constexpr std::array<std::string_view, 14> kEntryKeys{
    "type",        "base_url", "api_key", "endpoints",   "entra",   "headers", "timeouts", "max_connections",
    "max_retries", "models",   "prices",  "api_version", "ca_file", "options"};
constexpr std::array<std::string_view, 3> kPriceKeys{"input", "cached_input", "output"};
constexpr double kPriceMax = 1'000'000; // dollars a million tokens
constexpr std::array<std::string_view, 3> kEndpointKeys{"base_url", "api_key", "weight"};
constexpr std::array<std::string_view, 4> kEntraKeys{"tenant_id", "client_id", "client_secret", "token_url"};
constexpr std::array<std::string_view, 4> kTimeoutKeys{"connect_ms", "first_byte_ms", "idle_ms", "total_ms"};
// Set by the connection itself: a second one would break the framing or the routing of the request.
constexpr std::array<std::string_view, 8> kReservedHeaders{
    "connection", "content-length", "content-type", "host", "keep-alive", "te", "transfer-encoding", "upgrade"};
constexpr double kTimeoutMsMax = 86'400'000;
constexpr std::int64_t kConnectionsMax = 65'536;
constexpr std::int64_t kRetriesMax = 10;
constexpr std::size_t kEndpointsMax = 64;
constexpr double kWeightMax = 1'000'000;
constexpr std::size_t kNameBytesMax = 64;

// Names show in metrics, logs and URLs.
bool is_provider_name(std::string_view name) noexcept {
    return !name.empty() && name.size() <= kNameBytesMax && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
               c == '.';
    });
}

ProviderTimeouts default_timeouts(ProviderType const& type) noexcept {
    ProviderTimeouts timeouts;
    // Loading a local model can take minutes before the first byte.
    if (type.name == "ollama") timeouts.first_byte = std::chrono::milliseconds(600'000);
    return timeouts;
}

void read_timeouts(ObjectReader const& reader, ProviderTimeouts& timeouts, std::vector<std::string>& unset) {
    auto const* object = reader.object("timeouts");
    if (object == nullptr) return;
    ObjectReader const inner(reader.scope(), *object, join_pointer(reader.pointer(), "timeouts"), unset);
    inner.allow_only(kTimeoutKeys);
    auto const read = [&inner](std::string_view key, std::chrono::milliseconds& target) {
        if (auto const ms = inner.number_above_zero(key, kTimeoutMsMax)) {
            target = std::chrono::milliseconds(std::max<std::int64_t>(1, static_cast<std::int64_t>(*ms)));
        }
    };
    read("connect_ms", timeouts.connect);
    read("first_byte_ms", timeouts.first_byte);
    read("idle_ms", timeouts.idle);
    read("total_ms", timeouts.total);
}

void read_base_url(ObjectReader const& reader, std::string_view key, std::string& target) {
    auto url = reader.text(key);
    if (!url) return;
    if (auto const problem = base_url_problem(*url)) {
        // A URL may carry a password or a key: only one without @ is quoted, and only up to ? or #.
        auto const written = reader.written(key);
        auto const shown = written.substr(0, std::min(written.find_first_of("?#"), written.size() - 1) + 1);
        reader.fault(key, *problem + (written.find('@') == std::string_view::npos ? ": " + in_quotes(shown) : ""),
                     "an http:// or https:// URL without user, query and fragment");
        return;
    }
    target = std::move(*url);
}

void read_prices(ObjectReader const& reader, ProviderConfig& config, std::vector<std::string>& unset) {
    auto const* object = reader.object("prices");
    if (object == nullptr) return;
    auto const pointer = join_pointer(reader.pointer(), "prices");
    for (auto const& member : *object) {
        std::string const model(member.key().data(), member.key().size());
        auto at = join_pointer(pointer, model);
        auto const* prices = member.value().if_object();
        if (prices == nullptr) {
            reader.fault_at(std::move(at), std::string(describe_type(member.value())),
                            "an object with input, output and perhaps cached_input, in US dollars per million tokens");
            continue;
        }
        ObjectReader const inner(reader.scope(), *prices, std::move(at), unset);
        inner.allow_only(kPriceKeys);
        auto const input = inner.number_from_zero("input", kPriceMax);
        auto const output = inner.number_from_zero("output", kPriceMax);
        auto const cached = inner.number_from_zero("cached_input", kPriceMax);
        for (auto const key : {"input", "output"})
            if (!inner.has(key)) inner.fault_here("no " + std::string(key), "input and output");
        config.prices[model] = {input.value_or(0), cached.value_or(input.value_or(0)), output.value_or(0)};
    }
}

// Several ways to the same models. One that lacks a variable is left out as long as another is there.
void read_endpoints(ObjectReader const& reader, ProviderConfig& config, std::vector<std::string>& unset) {
    auto const* value = reader.find("endpoints");
    if (value == nullptr) return;
    auto const* list = value->if_array();
    if (list == nullptr || list->empty() || list->size() > kEndpointsMax) {
        auto const found = list == nullptr ? std::string(describe_type(*value))
                                           : "an array of " + std::to_string(list->size()) + " endpoints";
        return reader.fault("endpoints", found, "an array of 1 to 64 objects with base_url, api_key, weight");
    }
    std::vector<std::string> all_unset;
    auto const pointer = join_pointer(reader.pointer(), "endpoints");
    for (std::size_t i = 0; i < list->size(); ++i) {
        auto at = join_pointer(pointer, std::to_string(i));
        auto const* object = (*list)[i].if_object();
        if (object == nullptr) {
            reader.fault_at(std::move(at), std::string(describe_type((*list)[i])),
                            "an object with base_url, api_key, weight");
            continue;
        }
        std::vector<std::string> own_unset;
        ObjectReader const inner(reader.scope(), *object, std::move(at), own_unset);
        inner.allow_only(kEndpointKeys);
        ProviderConfig::Endpoint endpoint{config.base_url, config.api_key};
        read_base_url(inner, "base_url", endpoint.base_url);
        if (auto key = read_one_line(inner, "api_key")) endpoint.api_key = core::Secret(std::move(*key));
        endpoint.weight = inner.number_above_zero("weight", kWeightMax).value_or(1);
        if (own_unset.empty()) {
            config.endpoints.push_back(std::move(endpoint));
        } else {
            reader.scope().warnings.push_back("provider " + in_quotes(config.name) + ": endpoint " + std::to_string(i) +
                                              " is left out, because " + not_set(own_unset));
            all_unset.insert(all_unset.end(), own_unset.begin(), own_unset.end());
        }
    }
    if (config.endpoints.empty()) unset.insert(unset.end(), all_unset.begin(), all_unset.end());
}

void read_entra(ObjectReader const& reader, ProviderType const& type, ProviderConfig& config,
                std::vector<std::string>& unset) {
    auto const* object = reader.object("entra");
    if (object == nullptr) return;
    if (!type.is_azure) {
        reader.fault("entra", "entra for the type " + std::string(type.name),
                     "entra only for azure_openai and azure_openai_cc");
        return;
    }
    if (reader.has("api_key")) {
        reader.fault("entra", "both api_key and entra", "one of the two", "remove the one that you do not use");
    }
    ObjectReader const inner(reader.scope(), *object, join_pointer(reader.pointer(), "entra"), unset);
    inner.allow_only(kEntraKeys);
    auto& entra = config.entra.emplace();
    entra.tenant_id = read_one_line(inner, "tenant_id").value_or("");
    entra.client_id = read_one_line(inner, "client_id").value_or("");
    entra.client_secret = core::Secret(read_one_line(inner, "client_secret").value_or(""));
    read_base_url(inner, "token_url", entra.token_url);
}

void read_own_headers(ObjectReader const& reader, ProviderConfig& config) {
    auto headers = read_headers(reader, "headers");
    if (!headers) return;
    for (auto const& header : *headers) {
        auto const is_same = [&header](std::string_view reserved) { return is_same_header(reserved, header.first); };
        if (std::any_of(kReservedHeaders.begin(), kReservedHeaders.end(), is_same)) {
            reader.fault_at(join_pointer(join_pointer(reader.pointer(), "headers"), header.first),
                            "a header that the connection sets itself", "any other header");
        }
    }
    config.headers = std::move(*headers);
}

// One of the two is sent, and whoever has written both may not know which.
void warn_of_replaced_key(ObjectReader const& reader, ProviderConfig const& config, ProviderType const& type) {
    std::string_view const key = reader.has("entra") ? "entra" : "api_key";
    auto const header = key_header(config, type);
    if (type.name == "demo" || !reader.has(key) || !has_header(config.headers, header)) return;
    reader.scope().warnings.push_back("provider " + in_quotes(config.name) + ": " + std::string(key) +
                                      " is not sent, because headers has " + std::string(header));
}

ProviderType const* read_type(ObjectReader const& reader, std::string_view name) {
    auto const types = provider_type_names();
    if (!reader.has("type")) {
        // An entry named like a type says by its name what it is.
        if (auto const* type = find_provider_type(name)) return type;
        reader.fault_here("no type", "a member \"type\", one of " + joined(types));
        return nullptr;
    }
    auto const word = reader.text("type");
    if (!word) return nullptr;
    auto const* type = find_provider_type(*word);
    if (type == nullptr) {
        reader.fault("type", in_quotes(reader.written("type")), joined(types), did_you_mean(*word, types));
    }
    return type;
}

} // namespace

void ProviderBook::read_entries(FileScope& scope, json::object const& providers, std::string const& pointer) {
    for (auto const& member : providers) {
        std::string_view const name(member.key().data(), member.key().size());
        auto entry_pointer = join_pointer(pointer, name);
        auto const faults_before = scope.faults.size();
        if (auto const* entry = member.value().if_object()) {
            if (is_provider_name(name)) {
                read_entry(scope, name, *entry, entry_pointer);
            } else {
                scope.faults.push_back({scope.file, entry_pointer, "the name " + in_quotes(name),
                                        "1 to 64 letters, digits, dots, dashes and underscores"});
            }
        } else {
            scope.faults.push_back(
                {scope.file, entry_pointer, std::string(describe_type(member.value())), "an object with \"type\""});
        }
        if (scope.faults.size() > faults_before) broken_.emplace_back(name);
    }
}

void ProviderBook::read_entry(FileScope& scope, std::string_view name, json::object const& entry, std::string pointer) {
    std::vector<std::string> unset;
    ObjectReader const reader(scope, entry, std::move(pointer), unset);
    reader.allow_only(kEntryKeys);
    auto const* type = read_type(reader, name);

    ProviderConfig config;
    config.name = std::string(name);
    if (type != nullptr) config.timeouts = default_timeouts(*type);
    read_base_url(reader, "base_url", config.base_url);
    config.api_key = core::Secret(read_one_line(reader, "api_key").value_or(""));
    read_endpoints(reader, config, unset);
    read_own_headers(reader, config);
    read_timeouts(reader, config.timeouts, unset);
    if (auto const count = reader.integer("max_connections", 1, kConnectionsMax)) {
        config.max_connections = static_cast<std::size_t>(*count);
    }
    if (auto const count = reader.integer("max_retries", 0, kRetriesMax)) config.max_retries = static_cast<int>(*count);
    read_prices(reader, config, unset);
    config.models = reader.texts("models").value_or(std::vector<std::string>{});
    config.api_version = reader.text("api_version").value_or("");
    config.options = reader.free_object("options").value_or(json::object{});
    if (auto file = reader.text_not_empty("ca_file")) {
        if (auto const bytes = read_(*file); !bytes) {
            reader.fault("ca_file", in_quotes(reader.written("ca_file")) + ", which cannot be read",
                         "the path of a PEM file with certificates");
        }
        config.ca_file = std::move(*file);
    }
    if (type == nullptr) {
        if (!unset.empty()) { // the type itself hangs on a variable: unknown, but no fault
            config.unavailable = not_set(unset);
            providers_.push_back(std::move(config));
        }
        return;
    }
    config.type = std::string(type->name);
    read_entra(reader, *type, config, unset);
    warn_of_replaced_key(reader, config, *type);
    config.unavailable = not_set(unset);
    auto const has_url = [](ProviderConfig::Endpoint const& one) { return !one.base_url.empty(); };
    auto const has_key = [](ProviderConfig::Endpoint const& one) { return !one.api_key.empty(); };
    bool const own_base_url =
        reader.has("base_url") || std::any_of(config.endpoints.begin(), config.endpoints.end(), has_url);
    bool const own_key = reader.has("api_key") || reader.has("entra") ||
                         std::any_of(config.endpoints.begin(), config.endpoints.end(), has_key);
    complete_provider(config, *type, env_, own_base_url, own_key, scope.warnings);
    providers_.push_back(std::move(config));
}

ProviderConfig const* ProviderBook::resolve(std::string_view name, std::vector<std::string>& warnings) {
    auto const known = std::find_if(providers_.begin(), providers_.end(),
                                    [name](ProviderConfig const& provider) { return provider.name == name; });
    if (known != providers_.end()) return &*known;
    if (std::find(broken_.begin(), broken_.end(), name) != broken_.end()) {
        ProviderConfig placeholder;
        placeholder.name = std::string(name);
        placeholder.unavailable = "its entry is at fault";
        return &providers_.emplace_back(std::move(placeholder));
    }
    auto const* type = find_provider_type(name);
    if (type == nullptr) return nullptr;
    ProviderConfig config;
    config.name = std::string(name);
    config.type = std::string(name);
    config.timeouts = default_timeouts(*type);
    complete_provider(config, *type, env_, false, false, warnings);
    return &providers_.emplace_back(std::move(config));
}

std::vector<std::string_view> ProviderBook::names() const {
    auto out = provider_type_names();
    for (auto const& provider : providers_) {
        if (find_provider_type(provider.name) == nullptr) out.push_back(provider.name);
    }
    for (auto const& name : broken_) {
        if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
    }
    return out;
}

} // namespace parley::agents

// Where mcp.json holds its servers: each host has a root of its own; see config_parts.hpp.
// Owned by one load of the configuration.
// What is not read is said: servers that are silently left out are missed much later.
#include <algorithm>
#include <array>

#include "agents/config_json.hpp"
#include "agents/config_parts.hpp"

namespace parley::agents {
namespace {

namespace json = boost::json;

constexpr std::array<std::string_view, 3> kRootKeys{"mcpServers", "servers", "mcp_servers"};

void warn_of_other_roots(FileScope& scope, json::object const& object, std::string_view used) {
    for (auto const& member : object) {
        std::string_view const key(member.key().data(), member.key().size());
        if (key == used) continue;
        bool const is_root = std::find(kRootKeys.begin(), kRootKeys.end(), key) != kRootKeys.end();
        auto const hint = is_root ? std::string() : did_you_mean(key, kRootKeys);
        if (!is_root && hint.empty()) continue;
        scope.warnings.push_back(scope.file + ": " + join_pointer({}, key) + " is not read, because servers are in /" +
                                 std::string(used) + (is_root ? "; move them there" : "; " + hint));
    }
}

bool is_object(json::value const& value) noexcept {
    return value.is_object();
}

// What an object of label to server, or an array of servers, looks like.
bool holds_objects(json::value const& value) {
    if (auto const* list = value.if_array()) return std::all_of(list->begin(), list->end(), is_object);
    auto const* object = value.if_object();
    return object != nullptr && !object->empty() &&
           std::all_of(object->begin(), object->end(), [](auto const& member) { return is_object(member.value()); });
}

} // namespace

McpServersAt find_mcp_servers(FileScope& scope, json::value const& root) {
    auto const* object = root.if_object();
    if (object == nullptr) return {&root, {}};
    if (auto const* bifrost = object->if_contains("mcp"); bifrost != nullptr && bifrost->is_object()) {
        if (auto const* configs = bifrost->get_object().if_contains("client_configs")) {
            warn_of_other_roots(scope, *object, "mcp/client_configs");
            return {configs, "/mcp/client_configs"};
        }
    }
    for (auto const key : kRootKeys) {
        auto const* inner = object->if_contains(json::string_view(key.data(), key.size()));
        if (inner == nullptr) continue;
        if (!inner->is_object() && !inner->is_array()) {
            scope.faults.push_back({scope.file, join_pointer({}, key), std::string(describe_type(*inner)),
                                    "an object of label to server, or an array of servers"});
            return {};
        }
        warn_of_other_roots(scope, *object, key);
        return {inner, join_pointer({}, key)};
    }
    return {&root, {}};
}

bool is_misspelt_root(FileScope& scope, std::string_view label, json::value const& value) {
    auto hint = did_you_mean(label, kRootKeys);
    if (hint.empty() || !holds_objects(value)) return false;
    scope.faults.push_back(
        {scope.file, join_pointer({}, label), "unknown key " + in_quotes(label), joined(kRootKeys), std::move(hint)});
    return true;
}

} // namespace parley::agents

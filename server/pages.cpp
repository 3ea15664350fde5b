#include "server/pages.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "agents/upstream_health.hpp"
#include "embedded/web.hpp"
#include "server/api_error.hpp"
#include "server/wall_clock.hpp"

namespace parley::server {
namespace {

namespace json = boost::json;

net::Response as_json(json::object const& object, int status = 200) {
    return {status, json::serialize(object)};
}

// The four members that OpenAI's clients require, and what others show.
json::array tag_objects(std::vector<std::string> const& tags) {
    json::array objects;
    for (auto const& tag : tags)
        objects.push_back(json::object{{"name", tag}}); // Open WebUI's form
    return objects;
}

// What Open WebUI reads of a model, in the place where it reads it (0.12.4): its picker, its first page, and which of
// its own features it uses with the model. Its 36 built-in tools are 25 kB of every request.
json::object open_webui_meta(agents::Agent const& agent) {
    auto const& config = agent.config;
    json::object meta;
    if (!agent.unavailable.empty()) {
        meta["description"] = "Not available: " + agent.unavailable; // where a user looks before asking it
    } else if (!config.description.empty()) {
        meta["description"] = config.description;
    }
    if (!config.tags.empty()) meta["tags"] = tag_objects(config.tags);
    json::array prompts;
    for (auto const& prompt : config.suggestion_prompts)
        prompts.push_back(json::object{{"title", json::array{prompt, ""}}, {"content", prompt}});
    if (!prompts.empty()) meta["suggestion_prompts"] = std::move(prompts);
    bool const takes_tools = config.client_tools == agents::ClientTools::kMerge; // asked for on purpose
    meta["capabilities"] = json::object{{"builtin_tools", takes_tools}, {"usage", true}};
    return meta;
}

json::object model_object(agents::Agent const& agent, std::time_t created) {
    auto const& config = agent.config;
    json::object model{{"id", config.agent_id},
                       {"object", "model"},
                       {"created", static_cast<std::int64_t>(created)},
                       {"owned_by", "parley"},
                       {"name", config.name.empty() ? config.agent_id : config.name}};
    if (!config.description.empty()) model["description"] = config.description;
    if (!config.version.empty()) model["version"] = config.version;
    if (!config.tags.empty()) model["tags"] = tag_objects(config.tags);
    model["info"] = json::object{{"meta", open_webui_meta(agent)}};
    model["available"] = agent.unavailable.empty();
    if (!agent.unavailable.empty()) model["unavailable_reason"] = agent.unavailable;
    return model;
}

json::array texts(std::vector<std::string> const& from) {
    return json::array(from.begin(), from.end());
}

// What the configuration says of a server.
json::object mcp_server_object(agents::ServerState const& server) {
    json::object object{{"label", server.config.label},
                        {"status", server.unavailable.empty() ? "configured" : "unavailable"}};
    if (!server.unavailable.empty()) object["reason"] = server.unavailable;
    return object;
}

// The servers that the agent may use; `allowed_tools` null = all of theirs.
json::array agent_mcp_servers(agents::AgentConfig const& agent, agents::Catalogue const& catalogue) {
    json::array servers;
    for (auto const& server : catalogue.mcp_servers()) {
        auto tools = server.config.allowed_tools;
        if (auto const& allowed = agent.allowed_mcp_servers) {
            auto const found = allowed->find(server.config.label);
            if (found == allowed->end()) continue;
            if (found->second) tools = found->second;
        }
        auto object = mcp_server_object(server);
        object["allowed_tools"] = tools ? json::value(texts(*tools)) : json::value(nullptr);
        servers.push_back(std::move(object));
    }
    return servers;
}

// Neither prompt nor settings: those are the operator's.
json::object agent_object(agents::Agent const& agent, agents::Catalogue const& catalogue) {
    auto object = model_object(agent, catalogue.loaded_at());
    object["object"] = "agent";
    object["provider"] = agent.config.provider;
    object["model"] = agent.config.model;
    json::array models;
    for (auto const& candidate : agent.candidates) {
        models.push_back(json::object{{"agent", candidate.agent_id},
                                      {"provider", std::string(candidate.provider->name())},
                                      {"model", candidate.model_name}});
    }
    object["answered_by"] = std::move(models);
    object["mcp_servers"] = agent_mcp_servers(agent.config, catalogue);
    return object;
}

json::object agent_health(agents::Agent const& agent) {
    json::object object{{"agent_id", agent.config.agent_id},
                        {"status", agent.unavailable.empty() ? "available" : "unavailable"}};
    if (!agent.unavailable.empty()) object["reason"] = agent.unavailable;
    return object;
}

core::Result<agents::Agent const*> find_agent(agents::Catalogue const& catalogue, std::string_view id,
                                              policy::KeyRecord const* key) {
    auto const* const agent = visible_agent(catalogue, id, key);
    if (!agent) return agents::model_not_found(id);
    return agent;
}

// And what became of it. A server that runs although the configuration has dropped it is still shown.
json::array mcp_servers(agents::Catalogue const& catalogue, GatewayShared const& shared) {
    json::array servers;
    for (auto const& server : catalogue.mcp_servers())
        servers.push_back(mcp_server_object(server));
    if (!shared.mcp_health) return servers;
    for (auto const& live : shared.mcp_health()) {
        auto const same = [&](json::value const& one) { return one.at("label").as_string() == live.label; };
        auto found = std::find_if(servers.begin(), servers.end(), same);
        if (found == servers.end()) {
            servers.push_back(json::object{{"label", live.label}, {"status", "removed"}});
            found = servers.end() - 1;
        }
        auto& object = found->as_object();
        object["transport"] = live.transport;
        object["state"] = live.state;
        object["sessions"] = live.sessions;
        if (!live.protocol_version.empty()) object["protocol_version"] = live.protocol_version;
        if (!live.refused_tools.empty()) object["refused_tools"] = texts(live.refused_tools);
        if (!live.changed_tools.empty()) object["changed_tools"] = texts(live.changed_tools);
        object["tools"] = live.tools ? json::value(texts(*live.tools)) : json::value(nullptr);
        if (!live.last_error.empty()) object["last_error"] = live.last_error;
        if (!live.stderr_lines.empty()) object["stderr"] = texts(live.stderr_lines);
    }
    return servers;
}

json::object store_object(StoreHealth const& store) {
    json::object object{{"status", store.is_ready ? "ready" : "unavailable"}, {"name", store.name}};
    if (!store.is_ready) object["reason"] = store.reason;
    if (store.schema_version != 0) object["schema_version"] = store.schema_version;
    return object;
}

// The models of a provider that agents have, and how each has been answering.
json::array provider_models(std::vector<agents::UpstreamHealth> const& upstreams, std::string_view provider) {
    json::array models;
    for (auto const& upstream : upstreams) {
        if (upstream.provider != provider) continue;
        json::array endpoints;
        for (auto const& endpoint : upstream.endpoints) {
            json::object one{{"circuit", endpoint.state},
                             {"failures_in_a_row", endpoint.failures},
                             {"in_flight", endpoint.in_flight}};
            if (endpoint.rests_for.count() != 0) one["retry_after_ms"] = endpoint.rests_for.count();
            endpoints.push_back(std::move(one));
        }
        models.push_back(json::object{
            {"model", upstream.model}, {"endpoints", std::move(endpoints)}, {"retries_left", upstream.retries_left}});
    }
    return models;
}

void add_details(json::object& health, agents::Catalogue const& catalogue, GatewayShared const& shared) {
    json::array agents;
    for (auto const& agent : catalogue.agents())
        agents.push_back(agent_health(agent));
    json::array providers;
    auto const upstreams = agents::upstream_health(catalogue, std::chrono::steady_clock::now());
    for (auto const& state : catalogue.providers()) {
        json::object one{{"name", state.config.name},
                         {"type", state.config.type},
                         {"status", state.provider ? "configured" : "unavailable"}};
        if (!state.provider) one["reason"] = state.unavailable;
        if (auto models = provider_models(upstreams, state.config.name); !models.empty())
            one["models"] = std::move(models);
        providers.push_back(std::move(one));
    }
    json::array files;
    for (auto const& manifest : catalogue.manifests()) {
        files.push_back(json::object{{"path", manifest.path}, {"sha256", manifest.sha256}});
    }
    auto const reload = shared.reload_state();
    json::object config{{"loaded_at", static_cast<std::int64_t>(catalogue.loaded_at())},
                        {"files", std::move(files)},
                        {"reloads", reload->reloads},
                        {"refused", reload->refused}};
    if (!reload->last_refusal.empty()) config["last_refusal"] = reload->last_refusal;
    health["agents"] = std::move(agents);
    health["providers"] = std::move(providers);
    health["mcp_servers"] = mcp_servers(catalogue, shared);
    health["store"] = store_object(shared.store_health());
    health["config"] = std::move(config);
}

} // namespace

agents::Agent const* visible_agent(agents::Catalogue const& catalogue, std::string_view id,
                                   policy::KeyRecord const* key) noexcept {
    return key && !key->may_use_agent(id) ? nullptr : catalogue.find(id);
}

net::Response models_page(agents::Catalogue const& catalogue, policy::KeyRecord const* key) {
    json::array data;
    for (auto const& agent : catalogue.agents())
        if (!key || key->may_use_agent(agent.config.agent_id))
            data.push_back(model_object(agent, catalogue.loaded_at()));
    return as_json({{"object", "list"}, {"data", std::move(data)}});
}

core::Result<net::Response> model_page(agents::Catalogue const& catalogue, std::string_view id,
                                       policy::KeyRecord const* key) {
    auto const agent = find_agent(catalogue, id, key);
    if (!agent) return agent.error();
    return as_json(model_object(**agent, catalogue.loaded_at()));
}

net::Response agents_page(agents::Catalogue const& catalogue, policy::KeyRecord const* key) {
    json::array data;
    for (auto const& agent : catalogue.agents())
        if (!key || key->may_use_agent(agent.config.agent_id)) data.push_back(agent_object(agent, catalogue));
    return as_json({{"object", "list"}, {"data", std::move(data)}});
}

core::Result<net::Response> agent_page(agents::Catalogue const& catalogue, std::string_view id,
                                       policy::KeyRecord const* key) {
    auto const agent = find_agent(catalogue, id, key);
    if (!agent) return agent.error();
    return as_json(agent_object(**agent, catalogue));
}

core::Result<net::Response> agent_health_page(agents::Catalogue const& catalogue, std::string_view id,
                                              policy::KeyRecord const* key) {
    auto const agent = find_agent(catalogue, id, key);
    if (!agent) return agent.error();
    auto health = agent_health(**agent);
    health["last_check"] = utc_text(wall_clock_ms());
    return as_json(health);
}

net::Response health_page(agents::Catalogue const& catalogue, GatewayShared const& shared, bool detailed) {
    auto const draining = shared.draining.load(std::memory_order_relaxed);
    json::object health{{"status", draining ? "draining" : "healthy"},
                        {"timestamp", utc_text(wall_clock_ms())},
                        {"service", "parley"},
                        {"version", shared.version}};
    if (detailed) add_details(health, catalogue, shared);
    return as_json(health);
}

// A store that is away matters as soon as one agent keeps conversations.
net::Response ready_page(agents::Catalogue const& catalogue, GatewayShared const& shared) {
    if (shared.draining.load(std::memory_order_relaxed)) {
        auto api = to_api_error(core::make_error(core::Errc::kDraining, "Parley is shutting down."));
        // Said here, because the loop of this connection may not have been told yet.
        return {503, std::move(api.body), "application/json", std::move(api.headers), true};
    }
    auto const store = shared.store_health();
    auto const remembers = [](agents::Agent const& agent) { return agents::has_memory(agent.config); };
    if (!store.is_ready && std::ranges::any_of(catalogue.agents(), remembers)) {
        // Anybody may ask: where the store is stands in the log and in /health?detailed=true.
        auto error = core::make_error(core::Errc::kStoreUnavailable, "The conversation store is not reachable.");
        auto api = to_api_error(error);
        return {503, std::move(api.body), "application/json", std::move(api.headers)};
    }
    return as_json({{"status", "ready"}});
}

net::Response root_page(GatewayShared const& shared) {
    return as_json({{"service", "parley"},
                    {"version", shared.version},
                    {"docs", "/docs"},
                    {"openai_base_url", "/v1"},
                    {"health", "/health"}});
}

net::Response openapi_page() {
    return {200, std::string(embedded::openapi_json)};
}

net::Response docs_page() {
    net::Response response{200, std::string(embedded::docs_html), "text/html; charset=utf-8"};
    response.headers = {{"content-security-policy", std::string(embedded::docs_html_csp)},
                        {"x-content-type-options", "nosniff"},
                        {"referrer-policy", "no-referrer"}};
    return response;
}

} // namespace parley::server

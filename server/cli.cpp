#include "server/cli.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>

#include <unistd.h>

#include "agents/catalogue.hpp"
#include "agents/config_loader.hpp"
#include "server/app.hpp"
#include "server/cli_parts.hpp"
#include "server/reload.hpp"

namespace parley::server {
namespace {

namespace json = boost::json;

constexpr char const* kDotenv = ".env";

struct Colours {
    std::string_view bold, dim, green, yellow, off;
};

Colours colours(int fd) {
    if (::isatty(fd) != 1 || std::getenv("NO_COLOR")) return {};
    return {"\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[0m"};
}

std::size_t widest_id(agents::Catalogue const& catalogue) {
    std::size_t width = 0;
    for (auto const& agent : catalogue.agents())
        width = std::max(width, agent.config.agent_id.size());
    return width;
}

std::string state_of(agents::Agent const& agent, Colours const& c) {
    if (!agent.unavailable.empty()) return fmt::format("{}unavailable{}  {}", c.yellow, c.off, agent.unavailable);
    auto const& first = agent.candidates.front();
    auto text = fmt::format("{}available{}    {} on {}", c.green, c.off, first.model_name, first.provider->name());
    if (first.agent_id != agent.config.agent_id) text += fmt::format(" (fallback: {})", first.agent_id);
    return text;
}

// What a person needs when it has started: where, who, and something to paste.
void greet(App const& app, Settings const& settings) {
    auto const c = colours(2);
    auto const& catalogue = app.catalogue();
    auto const host = settings.host == "0.0.0.0" || settings.host == "::" ? "127.0.0.1" : settings.host;
    auto const url = fmt::format("{}://{}:{}", settings.tls_certificate.empty() ? "http" : "https",
                                 host.find(':') == std::string::npos ? host : "[" + host + "]", app.port());
    fmt::print(stderr, "\n{}Parley {}{} listens on {}{}{}\n\n", c.bold, version(), c.off, c.bold, url, c.off);
    auto const width = widest_id(catalogue);
    auto label = std::string_view("agents");
    for (auto const& agent : catalogue.agents()) {
        fmt::print(stderr, "  {:<7} {:<{}}  {}\n", label, agent.config.agent_id, width, state_of(agent, c));
        label = "";
    }
    label = "tools";
    for (auto const& server : catalogue.mcp_servers()) {
        if (server.config.disabled || server.unavailable.empty()) continue;
        fmt::print(stderr, "  {:<7} {:<{}}  {}unavailable{}  {}\n", label, server.config.label, width, c.yellow, c.off,
                   server.unavailable);
        label = "";
    }
    auto const store = app.store_health();
    fmt::print(stderr, "  {:<7} {}\n", "store",
               store.is_ready ? store.name
                              : fmt::format("{}{} cannot be used{}: {}", c.yellow, store.name, c.off, store.reason));
    fmt::print(stderr, "  {:<7} {}\n", "keys",
               app.wants_keys() ? "required" : "none: whoever reaches this address may use it");
    fmt::print(stderr, "  {:<7} {}/docs\n", "docs", url);
    auto const& agents = catalogue.agents();
    auto const usable =
        std::find_if(agents.begin(), agents.end(), [](auto const& agent) { return agent.unavailable.empty(); });
    if (usable != agents.end()) {
        auto const key = app.wants_keys() ? " -H \"authorization: Bearer $KEY\"" : "";
        fmt::print(stderr, "\n{}Try it:{}\n  curl -N {}/v1/chat/completions -H 'content-type: application/json'{} \\\n",
                   c.dim, c.off, url, key);
        fmt::print(
            stderr,
            "    -d "
            "'{{\"model\":\"{}\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello!\"}}]}}'\n",
            usable->config.agent_id);
    }
    fmt::print(stderr, "\n");
}

// Why agents cannot be used: as the gateway would find it, which makes the providers, too.
std::vector<std::pair<std::string, std::string>> unavailable_agents(agents::GatewayConfig const& config) {
    auto const catalogue = agents::Catalogue::build(config, nullptr, std::time(nullptr));
    std::vector<std::pair<std::string, std::string>> out;
    for (auto const& agent : catalogue->agents()) {
        if (!agent.unavailable.empty()) out.emplace_back(agent.config.agent_id, agent.unavailable);
    }
    return out;
}

// "NAME=value: must be …" or "NAME: …", as make_settings() says it.
agents::Fault setting_fault(std::string_view text) {
    constexpr std::string_view kAllowed = ": must be ";
    auto const name = text.substr(0, text.find_first_of("=:"));
    auto const allowed = text.rfind(kAllowed);
    auto const has_value = text.substr(name.size()).starts_with('=') && allowed != std::string_view::npos;
    agents::Fault fault{"environment", std::string(name), {}, {}};
    if (has_value) {
        fault.found = text.substr(name.size() + 1, allowed - name.size() - 1);
        fault.allowed = text.substr(allowed + kAllowed.size());
    } else {
        fault.found = text.substr(std::min(text.size(), name.size() + 2));
    }
    return fault;
}

// The lines of Environment::load(): ".env:3: …", or one that says why it cannot be read.
std::vector<agents::Fault> dotenv_faults(std::string_view report) {
    std::vector<agents::Fault> faults;
    while (!report.empty()) {
        auto line = report.substr(0, report.find('\n'));
        report.remove_prefix(std::min(report.size(), line.size() + 1));
        agents::Fault fault{kDotenv, "", {}, {}};
        line.remove_prefix(std::string_view(kDotenv).size() + 1);
        auto const colon = line.find(": ");
        if (std::from_chars(line.data(), line.data() + line.size(), fault.line).ec == std::errc{} &&
            colon != std::string_view::npos)
            line.remove_prefix(colon + 2);
        fault.found = line;
        faults.push_back(std::move(fault));
    }
    return faults;
}

void print_validity_json(agents::LoadedConfig const& loaded) {
    json::array faults;
    for (auto const& fault : loaded.faults)
        faults.push_back(agents::to_json(fault));
    json::array warnings;
    for (auto const& warning : loaded.warnings)
        warnings.push_back(json::string(warning));
    json::array unavailable;
    if (loaded.config) {
        for (auto const& [agent_id, reason] : unavailable_agents(*loaded.config))
            unavailable.push_back(json::object{{"agent_id", agent_id}, {"reason", reason}});
    }
    json::object const result{
        {"valid", loaded.faults.empty()}, {"faults", faults}, {"warnings", warnings}, {"unavailable", unavailable}};
    fmt::print("{}\n", json::serialize(result));
}

} // namespace

void complain(std::string_view text) {
    fmt::print(stderr, "parley: {}\n", text);
}

// Settings and environment, or nothing after telling what is wrong.
std::optional<std::pair<Settings, Environment>> prepare(Flags const& flags) {
    auto environment = Environment::load(kDotenv);
    if (!environment) {
        complain(environment.error().message);
        return std::nullopt;
    }
    auto made = make_settings(flags, *environment);
    for (auto const& fault : made.faults)
        complain(fault);
    if (!made.faults.empty()) return std::nullopt;
    return std::pair(std::move(made.settings), std::move(*environment));
}

int serve(Flags const& flags) {
    auto prepared = prepare(flags);
    if (!prepared) return kExitFault;
    auto const settings = prepared->first;
    auto app = App::create(std::move(prepared->first), kDotenv);
    if (!app) {
        auto text = app.error().message;
        if (text.starts_with("cannot listen")) text += " (--host and --port, or HOST and PORT, say where)";
        complain(text);
        return kExitFault;
    }
    if (settings.log.format == core::LogFormat::kText) greet(**app, settings);
    return (*app)->run(true);
}

int validate(Flags const& flags, bool as_json) {
    auto environment = Environment::load(kDotenv);
    std::vector<agents::Fault> faults;
    if (!environment) {
        faults = dotenv_faults(environment.error().message);
        environment = Environment();
    }
    auto const made = make_settings(flags, *environment);
    for (auto const& fault : made.faults)
        faults.push_back(setting_fault(fault));
    auto const& settings = made.settings;
    auto loaded = agents::load_config(config_sources(settings, *environment));
    loaded.faults.insert(loaded.faults.begin(), faults.begin(), faults.end());
    if (as_json) {
        print_validity_json(loaded);
        return loaded.faults.empty() ? kExitOk : kExitFault;
    }
    for (auto const& fault : loaded.faults)
        fmt::print("{}\n\n", agents::to_text(fault));
    for (auto const& warning : loaded.warnings)
        fmt::print("warning: {}\n", warning);
    if (!loaded.faults.empty()) {
        fmt::print("{} {}. Nothing was started.\n", loaded.faults.size(),
                   loaded.faults.size() == 1 ? "fault" : "faults");
        return kExitFault;
    }
    for (auto const& [agent_id, reason] : unavailable_agents(*loaded.config))
        fmt::print("agent '{}' is unavailable: {}\n", agent_id, reason);
    for (auto const& server : loaded.config->mcp_servers) {
        if (!server.unavailable.empty())
            fmt::print("MCP server '{}' is unavailable: {}\n", server.label, server.unavailable);
    }
    fmt::print("{} is valid: {} agents, {} providers, {} MCP servers.\n", settings.config_path,
               loaded.config->agents.size(), loaded.config->providers.size(), loaded.config->mcp_servers.size());
    return kExitOk;
}

int list_agents(Flags const& flags, bool as_json) {
    auto const prepared = prepare(flags);
    if (!prepared) return kExitFault;
    auto loaded = agents::load_config(config_sources(prepared->first, prepared->second));
    if (!loaded.config) {
        complain(fmt::format("the configuration has {} faults; `parley validate` shows them", loaded.faults.size()));
        return kExitFault;
    }
    auto const catalogue = agents::Catalogue::build(std::move(*loaded.config), nullptr, std::time(nullptr));
    if (as_json) {
        json::array list;
        for (auto const& agent : catalogue->agents()) {
            json::object one{{"agent_id", agent.config.agent_id},
                             {"provider", agent.config.provider},
                             {"model", agent.config.model},
                             {"available", agent.unavailable.empty()}};
            if (!agent.unavailable.empty()) one["reason"] = agent.unavailable;
            list.push_back(std::move(one));
        }
        fmt::print("{}\n", json::serialize(list));
        return kExitOk;
    }
    auto const c = colours(1);
    auto const width = widest_id(*catalogue);
    for (auto const& agent : catalogue->agents())
        fmt::print("{:<{}}  {}\n", agent.config.agent_id, width, state_of(agent, c));
    return kExitOk;
}

} // namespace parley::server

#include "server/reload.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <map>
#include <utility>

#include "core/hash.hpp"
#include "server/gateway.hpp"

namespace parley::server {
namespace {

constexpr core::MetricName kReloads{"parley_config_reloads_total", "Configurations that were swapped in, or refused.",
                                    core::MetricKind::kCounter};
constexpr std::size_t kUnavailableTold = 20; // of a kind; /health has all of them
constexpr core::MetricName kAgents{"parley_agents", "Agents in the configuration.", core::MetricKind::kGauge};

// Names with the reason why each cannot be used.
using Reasons = std::map<std::string, std::string, std::less<>>;

Reasons unavailable_agents(agents::Catalogue const& catalogue) {
    Reasons reasons;
    for (auto const& agent : catalogue.agents())
        if (!agent.unavailable.empty()) reasons.emplace(agent.config.agent_id, agent.unavailable);
    return reasons;
}

// Without those that are kept from everybody on purpose.
Reasons unavailable_servers(agents::Catalogue const& catalogue) {
    Reasons reasons;
    for (auto const& server : catalogue.mcp_servers()) {
        auto const& config = server.config;
        if (!config.disabled && !config.unavailable.empty()) reasons.emplace(config.label, config.unavailable);
    }
    return reasons;
}

void warn_of_new(core::Log& log, std::string_view event, std::string_view kind, Reasons const& now,
                 Reasons const& before) {
    std::size_t count = 0;
    for (auto const& [name, reason] : now) {
        auto const known = before.find(name);
        if (known != before.end() && known->second == reason) continue;
        if (++count <= kUnavailableTold) log.warn(event).add(kind, name).add("reason", reason);
    }
    if (count > kUnavailableTold) log.warn(event).add("not_shown", static_cast<std::int64_t>(count - kUnavailableTold));
}

} // namespace

agents::ConfigSources config_sources(Settings const& settings, Environment const& environment) {
    agents::ConfigSources sources;
    sources.agent_config_path = settings.config_path;
    sources.mcp_path = settings.mcp_path;
    sources.mcp_required = settings.mcp_required;
    sources.prompts_dir = settings.prompts_dir;
    sources.env = [environment](std::string_view name) { return environment.find(name); };
    sources.read = agents::disk_reader();
    return sources;
}

std::string fault_report(std::vector<agents::Fault> const& faults) {
    std::string text =
        fmt::format("The configuration has {} {}:\n", faults.size(), faults.size() == 1 ? "fault" : "faults");
    for (auto const& fault : faults)
        text += "\n" + agents::to_text(fault) + "\n";
    return text;
}

std::string manifest_hashes(agents::Catalogue const& catalogue, std::size_t digits) {
    std::string text;
    for (auto const& manifest : catalogue.manifests()) {
        if (!text.empty()) text += ' ';
        text += manifest.path + "=" + manifest.sha256.substr(0, digits);
    }
    return text;
}

Reloader::Reloader(boost::asio::io_context& control, Settings const& settings, std::string dotenv_path,
                   Environment environment, std::shared_ptr<agents::Catalogue const> catalogue, core::Log& log,
                   core::MetricSet& metrics, Sinks sinks)
    : settings_(settings),
      dotenv_path_(std::move(dotenv_path)),
      environment_(std::move(environment)),
      catalogue_(std::move(catalogue)),
      log_(log),
      metrics_(metrics),
      sinks_(std::move(sinks)),
      watch_(control, [this] { reload("file change"); }),
      state_(std::make_shared<ReloadState>()) {
    metrics_.counter(kReloads, {{"outcome", "accepted"}});
    metrics_.counter(kReloads, {{"outcome", "refused"}});
    count_agents();
}

void Reloader::start() {
    watch_files();
    if (files_changed()) reload("change since they were read");
}

void Reloader::reload(std::string_view why) {
    if (stopped_) return;
    auto const tls = reload_tls();
    auto fresh = load();
    auto next = std::make_shared<ReloadState>(*state());
    if (fresh) {
        ++next->reloads;
        next->last_refusal.clear();
        auto const before = std::exchange(catalogue_, *fresh);
        sinks_.catalogue(catalogue_);
        tell_unavailable(before.get());
        count_agents();
        watch_files();
        log_.info("config_reloaded")
            .add("why", why)
            .add("agents", static_cast<std::int64_t>(catalogue_->agents().size()))
            .add("available", available_agents())
            .add("files", manifest_hashes(*catalogue_));
    } else {
        ++next->refused;
        next->last_refusal = fresh.error().message;
        log_.error("config_refused")
            .add("why", why)
            .add("kept", manifest_hashes(*catalogue_))
            .add("report", next->last_refusal);
    }
    metrics_.counter(kReloads, {{"outcome", fresh ? "accepted" : "refused"}}).add();
    if (!tls) { // by itself: the configuration beside it is taken or refused as it is
        ++next->refused;
        next->last_refusal += (next->last_refusal.empty() ? "" : "\n") + tls.error().message;
        metrics_.counter(kReloads, {{"outcome", "refused"}}).add();
    }
    std::lock_guard const lock(mutex_);
    state_ = std::move(next);
}

core::Result<std::shared_ptr<agents::Catalogue const>> Reloader::load() {
    auto const environment = Environment::load(dotenv_path_);
    if (!environment) return environment.error();
    tell_settings(*environment);
    auto loaded = agents::load_config(config_sources(settings_, *environment));
    for (auto const& warning : loaded.warnings)
        log_.warn("config").add("warning", warning);
    if (!loaded.config) return core::make_error(core::Errc::kInvalidValue, fault_report(loaded.faults));
    return agents::Catalogue::build(std::move(*loaded.config), catalogue_.get(), std::time(nullptr));
}

// The settings of the process stay as they are until it is started again, which whoever has changed one may not know:
// keys, above all.
void Reloader::tell_settings(Environment const& now) {
    auto const made = make_settings({}, now);
    std::string changed;
    for (auto const& name : made.variables) {
        if (environment_.find(name) == now.find(name)) continue;
        changed += (changed.empty() ? "" : " ") + name;
    }
    if (changed != settings_told_ && !changed.empty()) {
        std::string faults;
        for (auto const& fault : made.faults)
            faults += (faults.empty() ? "" : "; ") + fault;
        auto line = log_.warn("restart_needed");
        line.add("settings", changed);
        if (!faults.empty()) line.add("faults", faults);
    }
    settings_told_ = std::move(changed);
}

std::int64_t Reloader::available_agents() const {
    return std::ranges::count_if(catalogue_->agents(), [](auto const& agent) { return agent.unavailable.empty(); });
}

void Reloader::tell_unavailable(agents::Catalogue const* before) {
    auto const& now = *catalogue_;
    warn_of_new(log_, "agent_unavailable", "agent", unavailable_agents(now),
                before != nullptr ? unavailable_agents(*before) : Reasons());
    warn_of_new(log_, "mcp_server_unavailable", "server", unavailable_servers(now),
                before != nullptr ? unavailable_servers(*before) : Reasons());
}

std::shared_ptr<ReloadState const> Reloader::state() const {
    std::lock_guard const lock(mutex_);
    return state_;
}

core::Result<> Reloader::reload_tls() {
    if (settings_.tls_certificate.empty()) return {};
    auto const tls = net::make_tls_server_context({settings_.tls_certificate, settings_.tls_key});
    if (!tls) {
        log_.error("certificate_refused").add("reason", tls.error().message);
        return tls.error();
    }
    sinks_.tls(*tls);
    return {};
}

// Between reading the files and watching them somebody may have written.
bool Reloader::files_changed() const {
    auto const read = agents::disk_reader();
    return std::ranges::any_of(catalogue_->manifests(), [&](agents::Manifest const& manifest) {
        auto const now = read(manifest.path);
        return !now || core::sha256_hex(*now) != manifest.sha256;
    });
}

void Reloader::watch_files() {
    std::vector<std::string> paths{settings_.config_path, settings_.mcp_path, dotenv_path_};
    for (auto const& manifest : catalogue_->manifests())
        paths.push_back(manifest.path);
    if (!settings_.tls_certificate.empty()) {
        paths.push_back(settings_.tls_certificate);
        paths.push_back(settings_.tls_key);
    }
    watch_.watch(paths);
}

void Reloader::count_agents() {
    auto const available = available_agents();
    auto const all = static_cast<std::int64_t>(catalogue_->agents().size());
    auto& up = metrics_.counter(kAgents, {{"status", "available"}});
    auto& down = metrics_.counter(kAgents, {{"status", "unavailable"}});
    up.add(available - up.value());
    down.add(all - available - down.value());
}

} // namespace parley::server

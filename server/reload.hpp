// Reloads the configuration while the gateway runs: file changes, SIGHUP, the TLS certificate.
// Owned by App, lives on the main thread; only state() is for other threads.
#pragma once

#include <boost/asio/io_context.hpp>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "agents/catalogue.hpp"
#include "agents/config_loader.hpp"
#include "core/log.hpp"
#include "core/metrics.hpp"
#include "net/file_watch.hpp"
#include "net/tls.hpp"
#include "server/settings.hpp"

namespace parley::server {

struct ReloadState;

/// Where the configuration comes from, for load_config.
agents::ConfigSources config_sources(Settings const& settings, Environment const& environment);

/// All faults of a configuration as one text for a person.
std::string fault_report(std::vector<agents::Fault> const& faults);

/// "path=sha256 ..." of every file that the catalogue was made from; `digits` cuts the hashes.
std::string manifest_hashes(agents::Catalogue const& catalogue, std::size_t digits = std::string::npos);

class Reloader {
public:
    /// What takes over whatever was loaded, called on the main thread.
    struct Sinks {
        std::function<void(std::shared_ptr<agents::Catalogue const>)> catalogue;
        std::function<void(std::shared_ptr<net::TlsContext>)> tls;
    };

    /// `control` runs the main thread. `settings`, `log` and `metrics` outlive the reloader. `environment`: at start.
    Reloader(boost::asio::io_context& control, Settings const& settings, std::string dotenv_path,
             Environment environment, std::shared_ptr<agents::Catalogue const> catalogue, core::Log& log,
             core::MetricSet& metrics, Sinks sinks);
    Reloader(Reloader const&) = delete;
    Reloader& operator=(Reloader const&) = delete;

    /// Watches the files from now on, and reloads at once if one has changed since it was read.
    void start();

    /// Reads everything again; a configuration with faults is refused as a whole and the old one stays.
    /// The files are read here, on the main thread, so no loop waits for a disk.
    void reload(std::string_view why);

    void stop() noexcept { stopped_ = true; } // a gateway that drains takes no new configuration

    std::shared_ptr<agents::Catalogue const> const& catalogue() const noexcept { return catalogue_; }
    std::int64_t available_agents() const;

    /// A warning for each agent, and each tool server, that cannot be used and why: `before`, if any, did not have it
    /// so.
    void tell_unavailable(agents::Catalogue const* before);
    std::shared_ptr<ReloadState const> state() const; // from any thread

private:
    core::Result<std::shared_ptr<agents::Catalogue const>> load();
    void tell_settings(Environment const& now);
    core::Result<> reload_tls();
    bool files_changed() const;
    void watch_files();
    void count_agents();

    Settings const& settings_;
    std::string dotenv_path_;
    Environment environment_; // at start
    std::string settings_told_;
    std::shared_ptr<agents::Catalogue const> catalogue_;
    core::Log& log_;
    core::MetricSet& metrics_;
    Sinks sinks_;
    net::FileWatch watch_;
    mutable std::mutex mutex_; // guards state_, which is on no request's path but /health's
    std::shared_ptr<ReloadState const> state_;
    bool stopped_ = false;
};

} // namespace parley::server

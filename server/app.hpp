// The whole gateway: wires the rooms together, starts the loops, drains and stops.
// Lives on the main thread, which also runs the control context (signals, file changes, reloads).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "agents/catalogue.hpp"
#include "core/result.hpp"
#include "server/gateway.hpp"
#include "server/settings.hpp"

namespace parley::server {

std::string_view version() noexcept;

class App {
public:
    /// Loads the configuration, binds the port, makes the loops; nothing runs yet.
    /// Errors: kInvalidValue whose message is the whole report for the person who started it.
    static core::Result<std::unique_ptr<App>> create(Settings settings, std::string dotenv_path);
    ~App();

    std::uint16_t port() const noexcept;
    agents::Catalogue const& catalogue() const noexcept; // the newest; main thread
    StoreHealth store_health() const;
    bool wants_keys() const noexcept; // requests have to bring one, as far as was known at start

    /// Serves until SIGTERM, SIGINT or stop(). Returns the exit code: 0 when everything ended in order.
    int run(bool handle_signals);

    void stop(); // from any thread: like SIGTERM

private:
    class Impl;
    explicit App(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace parley::server

#include "server/app.hpp"

#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <thread>
#include <vector>

#include "agents/upstream_health.hpp"
#include "server/app_loop.hpp"
#include "server/app_store.hpp"
#include "server/memory_idempotency_store.hpp"
#include "server/metrics_page.hpp"
#include "server/process.hpp"
#include "server/reload.hpp"

namespace parley::server {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kDrainPoll{50};
constexpr std::chrono::seconds kCutGrace{3};       // for cut streams to say so
constexpr std::chrono::seconds kInterruptDrain{5}; // a person at the terminal does not wait for strangers' streams
constexpr std::chrono::seconds kSpareMemoryAge{1};
constexpr std::size_t kReservedDescriptors = 64;
constexpr std::size_t kShownDigits = 12; // of a hash at start; a reload logs all of them

constexpr core::MetricName kEndpoints{"parley_upstream_endpoints", "Endpoints of models that agents have.",
                                      core::MetricKind::kGauge};
constexpr core::MetricName kEndpointsShut{"parley_upstream_endpoints_shut",
                                          "Of those, how many are asked last, because they fail or asked for a pause.",
                                          core::MetricKind::kGauge};
constexpr core::MetricName kStoreReady{"parley_store_ready", "1 while the store of conversations can be used.",
                                       core::MetricKind::kGauge};

McpServerHealth shown(mcp::ServerHealth const& of) {
    return {of.label, of.transport,  of.state,        of.protocol_version, of.sessions,
            of.tools, of.last_error, of.stderr_lines, of.refused_tools,    of.changed_tools};
}

// Who may be asked for tools: the servers that the configuration leaves usable.
std::vector<std::shared_ptr<mcp::ServerSpec const>> usable_servers(agents::Catalogue const& catalogue) {
    std::vector<std::shared_ptr<mcp::ServerSpec const>> specs;
    for (auto const& server : catalogue.mcp_servers())
        if (server.unavailable.empty()) specs.push_back(server.spec);
    return specs;
}

UserForwarding user_forwarding(Settings const& settings) {
    UserForwarding forwarding;
    forwarding.jwt_secret = settings.user_jwt_secret;
    if (!settings.user_jwt_header.empty()) forwarding.jwt_header = settings.user_jwt_header;
    if (!settings.user_headers.empty()) forwarding.user_headers = settings.user_headers;
    forwarding.forwarder_keys = policy::ApiKeys::from_list(settings.forwarder_keys.reveal());
    forwarding.trusts_everybody = !settings.wants_keys() && settings.loopback_only();
    return forwarding;
}

} // namespace

std::string_view version() noexcept {
    return PARLEY_VERSION;
}

class App::Impl {
public:
    Impl(Settings settings, std::string dotenv_path, Environment environment,
         std::shared_ptr<agents::Catalogue const> catalogue, std::unique_ptr<storage::Store> store)
        : settings_(std::move(settings)),
          store_(std::move(store)),
          log_(settings_.log),
          reloader_(control_, settings_, std::move(dotenv_path), std::move(environment), std::move(catalogue), log_,
                    metrics_,
                    {.catalogue = [this](auto const& fresh) { use(fresh); },
                     .tls = [this](auto const& context) { use_tls(context); }}) {
        shared_.keys = policy::ApiKeys::from_list(settings_.api_keys.reveal());
        shared_.forwarding = user_forwarding(settings_);
        shared_.keys.add(shared_.forwarding.forwarder_keys);
        shared_.cors_origins = settings_.cors_origins;
        shared_.allow_anonymous = settings_.allow_anonymous;
        shared_.admission.limit(settings_.requests_max);
        shared_.commit_stream_after = settings_.limits.heartbeat;
        shared_.version = version();
        shared_.log_texts = settings_.log_texts;
        if (!settings_.session_headers.empty()) shared_.session_headers = settings_.session_headers;
        shared_.readers = &readers_;
        shared_.store_health = [this] { return store_health(); };
        shared_.idempotency = std::make_unique<MemoryIdempotencyStore>();
        shared_.metrics_page = [this](agents::Catalogue const& used) { return summed_metrics(used); };
        shared_.mcp_health = [this] {
            std::vector<McpServerHealth> all;
            for (auto const& one : mcp_host_->health())
                all.push_back(shown(one));
            return all;
        };
        shared_.reload_state = [this] { return reloader_.state(); };
        forbid_core_dumps();
        auto const descriptors = raise_descriptor_limit();
        auto& limits = settings_.limits;
        limits.connections_max =
            std::min(limits.connections_max, (descriptors - kReservedDescriptors) / 2 / settings_.threads);
        auto log = settings_.log;
        log.buffered = true;
        auto make_sampler = [this](net::Loop& loop) {
            auto sampler = std::make_unique<HostSampler>(loop, resolver_pool_, reloader_.catalogue());
            sampler_ = sampler.get();
            return sampler;
        };
        mcp_host_ = std::make_unique<mcp::Host>(mcp::HostOptions{.log = log,
                                                                 .pins_path = settings_.data_dir + "/mcp_pins.json",
                                                                 .make_sampler = std::move(make_sampler)},
                                                resolver_pool_);
        mcp_host_->use(usable_servers(*reloader_.catalogue()));
        for (unsigned i = 0; i < settings_.threads; ++i) {
            loops_.push_back(std::make_unique<LoopRunner>(log, resolver_pool_, shared_, reloader_.catalogue(), limits,
                                                          parked_calls_, *mcp_host_, *store_));
        }
        known_keys_ = read_keys_now(*loops_.front());
        for (auto& runner : loops_)
            runner->gateway.use(known_keys_);
    }
    ~Impl() { store_->close(); } // also where it never ran
    Impl(Impl const&) = delete;
    Impl& operator=(Impl const&) = delete;

    bool knows_keys() const noexcept { return known_keys_.is_current; }
    bool wants_keys() const noexcept { return settings_.wants_keys() || !known_keys_.book->empty(); }
    bool may_have_unread_keys() const noexcept { return !knows_keys() && !settings_.allow_anonymous; }

    core::Result<> listen() {
        if (!settings_.tls_certificate.empty()) {
            auto tls = net::make_tls_server_context({settings_.tls_certificate, settings_.tls_key});
            if (!tls) return tls.error();
            for (auto& runner : loops_)
                runner->tls = *tls;
        }
        port_ = settings_.port;
        auto const free = net::HttpServer::check_free(settings_.host, port_);
        if (!free) return free.error();
        for (auto& runner : loops_) {
            auto const port = runner->server.listen(settings_.host, port_);
            if (!port) return port.error();
            port_ = *port;
        }
        return {};
    }

    int run(bool handle_signals) {
        std::signal(SIGPIPE, SIG_IGN);
        if (handle_signals) { // before anybody can know that we are here
            for (auto const signal : {SIGTERM, SIGINT, SIGHUP})
                signals_.add(signal);
            wait_for_signal();
        }
        reloader_.start();
        if (handle_signals) log_listening();
        for (auto& runner : loops_) {
            auto& one = *runner;
            one.loop.post([&one, this] {
                one.tasks.spawn(follow_keys(one, known_keys_));
                one.server.start();
            });
            one.thread = std::thread([&one] { one.loop.run(); });
        }
        auto& first = *loops_.front();
        first.loop.post([&] { first.tasks.spawn(clean_up(first, settings_.cleanup_interval)); });
        auto const work = boost::asio::make_work_guard(control_);
        boost::asio::steady_timer settled(control_, kSpareMemoryAge);
        settled.async_wait([](auto const&) { give_back_spare_memory(); }); // of reading flags and configuration
        control_.run();
        for (auto& runner : loops_)
            runner->end();
        for (auto& runner : loops_)
            runner->thread.join();
        readers_.join(); // what they have read is brought to a loop
        store_->close();
        loops_.clear();
        mcp_host_.reset(); // closes sessions and programs in good order
        resolver_pool_.stop();
        log_.info("stopped").add("in_order", ended_in_order_ ? "yes" : "no");
        return ended_in_order_ ? 0 : 1;
    }

    void stop() {
        boost::asio::post(control_, [this] { drain(settings_.drain_limit); });
    }

    void log_listening() {
        auto const shown = settings_.host.find(':') == std::string::npos ? settings_.host : "[" + settings_.host + "]";
        log_.announce("listening")
            .add("address", fmt::format("{}:{}", shown, port_))
            .add("scheme", settings_.tls_certificate.empty() ? "http" : "https")
            .add("version", version())
            .add("agents", static_cast<std::int64_t>(catalogue().agents().size()))
            .add("available", reloader_.available_agents())
            .add("threads", static_cast<std::int64_t>(settings_.threads))
            .add("files", manifest_hashes(catalogue(), kShownDigits));
    }

    // What a reload says in the same words. At a terminal the greeting lists the agents.
    void warn(std::vector<std::string> const& warnings) {
        for (auto const& warning : warnings)
            log_.warn("config").add("warning", warning);
        if (settings_.log.format == core::LogFormat::kJson) reloader_.tell_unavailable(nullptr);
    }

    StoreHealth store_health() const {
        auto state = store_->state();
        return {store_in_words(state), state.ready, std::move(state.reason), state.schema_version};
    }

    std::uint16_t port() const noexcept { return port_; }
    agents::Catalogue const& catalogue() const noexcept { return *reloader_.catalogue(); }

private:
    void wait_for_signal() {
        signals_.async_wait([this](boost::system::error_code error, int signal) {
            if (error) return;
            if (signal == SIGHUP) {
                reloader_.reload("SIGHUP");
            } else if (draining_) {
                cut("second signal");
            } else {
                drain(signal == SIGINT ? std::min<std::chrono::milliseconds>(settings_.drain_limit, kInterruptDrain)
                                       : settings_.drain_limit);
            }
            wait_for_signal();
        });
    }

    void use(std::shared_ptr<agents::Catalogue const> const& fresh) {
        mcp_host_->use(usable_servers(*fresh));
        mcp_host_->loop().post([sampler = sampler_, fresh] { sampler->use(fresh); });
        for (auto& runner : loops_) {
            auto& one = *runner;
            one.loop.post([&one, fresh] { one.gateway.use(fresh); });
        }
    }

    void use_tls(std::shared_ptr<net::TlsContext> const& context) {
        for (auto& runner : loops_) {
            auto& one = *runner;
            one.loop.post([&one, context] { one.tls = context; });
        }
    }

    void drain(std::chrono::milliseconds limit) {
        if (draining_) return;
        draining_ = true;
        reloader_.stop();
        shared_.draining.store(true, std::memory_order_relaxed);
        drain_until_ = steady_clock::now() + limit;
        log_.info("draining").add_ms("limit_ms", static_cast<double>(limit.count()));
        for (auto& runner : loops_) {
            auto& one = *runner;
            one.open_connections = 1; // until its loop has looked
            one.loop.post([&one] { one.server.drain(); });
        }
        poll_drain();
    }

    void poll_drain() {
        std::size_t open = 0;
        for (auto& runner : loops_) {
            auto& one = *runner;
            open += one.open_connections.load();
            one.loop.post([&one] { one.open_connections = one.server.connections(); });
        }
        if (open == 0) {
            ended_in_order_ = !cut_;
            control_.stop();
            return;
        }
        if (steady_clock::now() >= drain_until_) {
            if (cut_) { // even cut streams did not end: nothing more can be told to anybody
                log_.error("stopped").add("in_order", "no").add("open_connections", static_cast<std::int64_t>(open));
                std::_Exit(1);
            }
            cut("drain limit");
        }
        drain_timer_.expires_after(kDrainPoll);
        drain_timer_.async_wait([this](boost::system::error_code error) {
            if (!error) poll_drain();
        });
    }

    void cut(std::string_view why) {
        if (cut_) return;
        cut_ = true;
        drain_until_ = steady_clock::now() + kCutGrace;
        log_.warn("cutting_streams").add("why", why);
        for (auto& runner : loops_) {
            auto& one = *runner;
            one.loop.post([&one] { one.server.cut(); });
        }
    }

    std::string summed_metrics(agents::Catalogue const& catalogue) const {
        std::vector<core::MetricSet const*> sets{&metrics_};
        for (auto const& runner : loops_)
            sets.push_back(&runner->loop.metrics());
        sets.push_back(&mcp_host_->metrics());
        core::MetricSet now;
        now.counter(kStoreReady).add(store_->state().ready ? 1 : 0);
        for (auto const& upstream : agents::upstream_health(catalogue, steady_clock::now())) {
            for (auto const& endpoint : upstream.endpoints) {
                auto const labels = core::Labels{{"provider", upstream.provider}, {"model", upstream.model}};
                now.counter(kEndpoints, labels).add(1);
                now.counter(kEndpointsShut, labels).add(endpoint.state == "closed" ? 0 : 1);
            }
        }
        sets.push_back(&now);
        return metrics_page(sets);
    }

    Settings settings_;
    std::unique_ptr<storage::Store> store_; // the loops' faces refer to it
    StoredKeys known_keys_;                 // when it was started
    core::Log log_;                         // of the main thread
    core::MetricSet metrics_;
    boost::asio::io_context control_{1};
    Reloader reloader_;
    GatewayShared shared_;
    boost::asio::thread_pool readers_{settings_.threads};
    boost::asio::thread_pool resolver_pool_{std::max(8U, 4 * settings_.threads)}; // names that hang, a few on each loop
    std::unique_ptr<mcp::Host> mcp_host_;                                         // the loops' faces refer to it
    HostSampler* sampler_ = nullptr;                                              // owned by the host, used on its loop
    agents::ParkedCalls parked_calls_;
    std::vector<std::unique_ptr<LoopRunner>> loops_;
    boost::asio::signal_set signals_{control_};
    boost::asio::steady_timer drain_timer_{control_};
    steady_clock::time_point drain_until_;
    std::uint16_t port_ = 0;
    bool draining_ = false;
    bool cut_ = false;
    bool ended_in_order_ = true;
};

App::App(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
App::~App() = default;

core::Result<std::unique_ptr<App>> App::create(Settings settings, std::string dotenv_path) {
    auto const refuse = [](std::string text) { return core::make_error(core::Errc::kInvalidValue, std::move(text)); };
    auto environment = Environment::load(dotenv_path);
    if (!environment) return environment.error();
    auto loaded = agents::load_config(config_sources(settings, *environment));
    if (!loaded.config) return refuse(fault_report(loaded.faults));
    auto const warnings = std::move(loaded.warnings);
    auto catalogue = agents::Catalogue::build(std::move(*loaded.config), nullptr, std::time(nullptr));
    auto store = open_store(settings);
    if (!store) return refuse(store.error().message + "\n");
    auto const host = settings.host;
    bool const is_for_all = settings.loopback_only() || settings.allow_anonymous;
    auto impl = std::make_unique<Impl>(std::move(settings), std::move(dotenv_path), std::move(*environment),
                                       std::move(catalogue), std::move(*store));
    if (!is_for_all && !impl->wants_keys()) {
        return refuse(fmt::format(
            "Refusing to listen on {} without API keys: anybody who can reach this machine could use your providers.\n"
            "Make one with `parley keys create`, set PARLEY_API_KEYS (in .env, say), listen on 127.0.0.1, or allow "
            "everybody with --allow-anonymous.\n{}",
            host,
            impl->knows_keys() ? "" : "(Whether there are keys in the store is not known: it cannot be reached.)\n"));
    }
    impl->warn(warnings);
    auto const listening = impl->listen();
    if (!listening) return refuse("Parley " + listening.error().message + ".\n");
    return std::unique_ptr<App>(new App(std::move(impl)));
}

std::uint16_t App::port() const noexcept {
    return impl_->port();
}
agents::Catalogue const& App::catalogue() const noexcept {
    return impl_->catalogue();
}
bool App::wants_keys() const noexcept {
    return impl_->wants_keys() || impl_->may_have_unread_keys();
}
StoreHealth App::store_health() const {
    return impl_->store_health();
}
int App::run(bool handle_signals) {
    return impl_->run(handle_signals);
}
void App::stop() {
    impl_->stop();
}

} // namespace parley::server

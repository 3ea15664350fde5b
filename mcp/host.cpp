#include "mcp/host.hpp"

#include <algorithm>
#include <future>
#include <utility>

#include "net/child_guard.hpp"

namespace parley::mcp {
namespace {

constexpr std::chrono::milliseconds kTidyInterval{500};

} // namespace

Host::Host(HostOptions options, boost::asio::thread_pool& resolver_pool)
    : loop_(options.log),
      http_(loop_, resolver_pool),
      approver_(std::move(options.approver)),
      sampler_(options.make_sampler ? options.make_sampler(loop_) : nullptr),
      pins_(std::move(options.pins_path), options.pins_kept),
      tasks_(loop_),
      tidy_timer_(loop_, Tidy{this}) {
    tidy_timer_.after(kTidyInterval);
    thread_ = std::thread([this] { loop_.run(); });
}

Host::~Host() {
    loop_.post([this] {
        auto stop = [this](std::exception_ptr) { loop_.stop(); };
        boost::asio::co_spawn(loop_.context(), close_all(), std::move(stop));
    });
    thread_.join();
}

core::Awaitable<void> Host::close_all() {
    tidy_timer_.never();
    life_.cancel();
    for (auto const& [spec, server] : servers_)
        tasks_.spawn(close_one(server)); // side by side: each may take seconds
    co_await tasks_.all_ended();
    servers_.clear();
}

core::Awaitable<void> Host::close_one(std::shared_ptr<Server> server) {
    co_await server->close();
}

Server& Host::server(std::shared_ptr<ServerSpec const> const& spec) {
    auto& server = servers_[spec.get()];
    if (!server)
        server = std::make_shared<Server>(TransportParts{loop_, http_, approver_, sampler_.get()}, spec, pins_,
                                          loop_.metrics());
    return *server;
}

void Host::use(std::vector<std::shared_ptr<ServerSpec const>> servers) {
    loop_.post([this, servers = std::move(servers)]() mutable {
        in_use_ = std::move(servers);
        for (auto const& spec : in_use_) {
            (void)server(spec);
            if (spec->eager) tasks_.spawn(start_eagerly(spec));
        }
        tidy();
    });
}

core::Awaitable<void> Host::start_eagerly(std::shared_ptr<ServerSpec const> spec) {
    core::Context const context{life_};
    Caller const caller{"anonymous"};
    auto const tools = co_await server(spec).tools(context, caller);
    (void)tools; // a failure is logged, shows in health, and is tried again at the first use
    publish_health();
}

void Host::tidy() {
    auto const now = std::chrono::steady_clock::now();
    for (auto it = servers_.begin(); it != servers_.end();) {
        auto const& server = it->second;
        server->tidy(now);
        auto const named = std::ranges::any_of(in_use_, [&](auto const& spec) { return spec.get() == it->first; });
        // Runs that began before a reload may still hold an older configuration and call its servers.
        auto const gone = !named && server->is_idle() && server.use_count() == 1;
        if (gone) tasks_.spawn(close_one(server));
        it = gone ? servers_.erase(it) : std::next(it);
    }
    net::ChildGuard::tidy();
    publish_health();
    tidy_timer_.after(kTidyInterval);
}

void Host::publish_health() {
    std::vector<ServerHealth> fresh;
    for (auto const& spec : in_use_) {
        auto const found = servers_.find(spec.get());
        if (found != servers_.end()) fresh.push_back(found->second->health());
    }
    std::lock_guard const lock(health_mutex_);
    health_ = std::move(fresh);
}

std::vector<ServerHealth> Host::health() const {
    std::lock_guard const lock(health_mutex_);
    return health_;
}

std::vector<ServerHealth> Host::health_now(std::vector<std::shared_ptr<ServerSpec const>> servers) {
    std::promise<std::vector<ServerHealth>> promise;
    auto future = promise.get_future();
    loop_.post([this, &promise, &servers] {
        std::vector<ServerHealth> out;
        for (auto const& spec : servers)
            out.push_back(server(spec).health());
        promise.set_value(std::move(out));
    });
    return future.get();
}

} // namespace parley::mcp

// All tool servers, on one loop and thread of their own. What request loops see of it is a ToolHost each.
//
// Why one loop for all: a session with a server outlives requests and is shared by those of one principal, which arrive
// on any loop. Crossing over costs two posts a call; a lock around sessions would cost every loop its rule.
#pragma once

#include <boost/asio/thread_pool.hpp>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/log.hpp"
#include "core/metrics.hpp"
#include "mcp/pins.hpp"
#include "mcp/sampler.hpp"
#include "mcp/server.hpp"
#include "mcp/tool_host.hpp"
#include "net/http_client.hpp"
#include "net/loop.hpp"

namespace parley::mcp {

struct HostOptions {
    core::LogOptions log = {};
    std::string pins_path = {}; // empty = pins are forgotten with the process
    Pins::Keeping pins_kept = Pins::Keeping::kAll;
    Approver approver = {};
    /// Makes what answers the servers' questions to a model; it is used on that loop only. Empty = they are declined.
    std::function<std::unique_ptr<Sampler>(net::Loop&)> make_sampler = {};
};

class Host {
public:
    /// Starts its thread. `resolver_pool` outlives it.
    Host(HostOptions options, boost::asio::thread_pool& resolver_pool);

    /// Closes every session and program (some seconds at most) and ends the thread.
    ~Host();
    Host(Host const&) = delete;
    Host& operator=(Host const&) = delete;

    /// The face for one request loop, which outlives it as the host does.
    std::unique_ptr<ToolHost> face(net::Loop& loop);

    /// The servers of the configuration now in force: eager ones are started, those not named any more are closed once
    /// nobody uses them. Any thread.
    void use(std::vector<std::shared_ptr<ServerSpec const>> servers);

    /// One object a server, in the order of use(). Any thread; a moment old.
    std::vector<ServerHealth> health() const;

    /// Now, for these. Any thread but the loop's own; waits for the loop.
    std::vector<ServerHealth> health_now(std::vector<std::shared_ptr<ServerSpec const>> servers);

    /// Pins the tools of a server as they are now: one, or all when `tool` is empty. Waits on `here`.
    /// Errors: why the server cannot be asked; kInvalidValue for a tool it does not have.
    core::Task<std::size_t> approve(net::Loop& here, core::Context const& context,
                                    std::shared_ptr<ServerSpec const> spec, std::string tool);

    core::MetricSet const& metrics() const noexcept { return loop_.metrics(); }

    /// Used on the loop only: by faces, and by commands that are faces themselves.
    net::Loop& loop() noexcept { return loop_; }
    Server& server(std::shared_ptr<ServerSpec const> const& spec);

private:
    void tidy();
    void publish_health();
    core::Awaitable<void> start_eagerly(std::shared_ptr<ServerSpec const> spec);
    core::Awaitable<void> close_all();
    core::Awaitable<void> close_one(std::shared_ptr<Server> server);

    struct Tidy {
        Host* self;
        void operator()() const noexcept { self->tidy(); }
    };

    net::Loop loop_;
    net::HttpClient http_;
    Approver approver_;
    std::unique_ptr<Sampler> sampler_;
    Pins pins_;
    std::map<ServerSpec const*, std::shared_ptr<Server>> servers_;
    std::vector<std::shared_ptr<ServerSpec const>> in_use_;
    core::Cancellation life_;
    net::TaskGroup tasks_;
    net::OnDeadline<Tidy> tidy_timer_;
    mutable std::mutex health_mutex_; // guards health_
    std::vector<ServerHealth> health_;
    std::thread thread_;
};

} // namespace parley::mcp

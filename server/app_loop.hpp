// What each loop of the gateway owns, and what answers for its agents on the tool servers' loop. Part of app.cpp's
// wiring.
#pragma once

#include <boost/asio/thread_pool.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "agents/model_sampler.hpp"
#include "mcp/host.hpp"
#include "memory/conversations.hpp"
#include "net/loop.hpp"
#include "net/task_group.hpp"
#include "net/tls.hpp"
#include "policy/key_store.hpp"
#include "policy/usage_limits.hpp"
#include "providers/session.hpp"
#include "server/gateway.hpp"
#include "server/wall_clock.hpp"
#include "storage/store.hpp"

namespace parley::server {

// What answers tool servers that ask for a model, with connections of its own on their loop.
class HostSampler final : public mcp::Sampler {
public:
    HostSampler(net::Loop& loop, boost::asio::thread_pool& pool, std::shared_ptr<agents::Catalogue const> catalogue)
        : session_(loop, pool), sampler_(session_, std::move(catalogue), [&loop](auto const& record) {
              loop.log()
                  .info("mcp_sampling")
                  .add("server", record.server)
                  .add("agent", record.agent_id)
                  .add("prompt_tokens", record.usage.prompt_tokens)
                  .add("completion_tokens", record.usage.completion_tokens);
          }) {}

    void use(std::shared_ptr<agents::Catalogue const> const& catalogue) { sampler_.use(catalogue); }

    core::Task<boost::json::object> create_message(core::Context const& context, mcp::ServerSpec const& spec,
                                                   boost::json::object params) override {
        return sampler_.create_message(context, spec, std::move(params));
    }

private:
    providers::Session session_;
    agents::ModelSampler sampler_;
};

// Everything that one core has.
struct LoopRunner {
    LoopRunner(core::LogOptions log, boost::asio::thread_pool& pool, GatewayShared const& shared,
               std::shared_ptr<agents::Catalogue const> catalogue, net::ServerLimits const& limits,
               agents::ParkedCalls& parked, mcp::Host& host, storage::Store& store)
        : loop(log),
          session(loop, pool),
          tool_host(host.face(loop)),
          tools{*tool_host, parked},
          database(store.face(loop)),
          conversations(*database, wall_clock_ms),
          keys(*database, wall_clock_ms, "gateway"),
          usage_limits(*database, wall_clock_ms),
          gateway(loop, session, shared, std::move(catalogue), tools, conversations, usage_limits),
          server(loop, gateway, limits, [this] { return tls; }),
          tasks(loop) {}

    /// Ends the tasks, then the loop; a task that does not end in time is left. From any thread.
    void end();

    core::Cancellation ending; // of the tasks
    net::Loop loop;
    providers::Session session;
    std::unique_ptr<mcp::ToolHost> tool_host;
    agents::ToolServices tools;
    std::unique_ptr<storage::Database> database;
    memory::Conversations conversations;
    policy::KeyStore keys;
    policy::UsageLimits usage_limits;
    Gateway gateway;
    std::shared_ptr<net::TlsContext> tls;
    net::HttpServer server;
    net::TaskGroup tasks; // of the whole process, on one of the loops
    std::atomic<std::size_t> open_connections{0};
    std::thread thread;
};

/// Keeps the loop's view of the stored keys, until the loop is to end.
core::Awaitable<void> follow_keys(LoopRunner& one, StoredKeys known);

/// The stored keys as they are now, read on the loop of `one` before it has a thread. Not current when the store cannot
/// be read.
StoredKeys read_keys_now(LoopRunner& one);

/// Erases conversations whose time is over, now and every `interval`, until the loop is to end.
core::Awaitable<void> clean_up(LoopRunner& one, std::chrono::milliseconds interval);

} // namespace parley::server

// The edge of one loop: lets requests in (or not), sends them to their route, and logs how they ended.
// One Gateway per loop; what all loops share is immutable or atomic (GatewayShared).
#pragma once

#include <boost/asio/thread_pool.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agents/catalogue.hpp"
#include "agents/conversation_turn.hpp"
#include "agents/run.hpp"
#include "chat/run_event.hpp"
#include "chat/usage.hpp"
#include "core/metrics.hpp"
#include "net/http_server.hpp"
#include "policy/api_keys.hpp"
#include "server/admission.hpp"
#include "server/chat_job.hpp"
#include "server/chat_request.hpp"
#include "server/chat_writer.hpp"
#include "server/conversation_identity.hpp"
#include "server/forwarded_user.hpp"
#include "server/gateway_metrics.hpp"
#include "server/idempotency.hpp"
#include "server/key_watch.hpp"
#include "server/request_state.hpp"
#include "server/routes.hpp"
#include "server/stored_answer.hpp"

namespace parley::server {

/// How the last (re)load went, for /health and /metrics. Written by the reloader's thread as a whole.
struct ReloadState {
    std::int64_t reloads = 0;
    std::int64_t refused = 0;
    std::string last_refusal = {}; // the report of the last refused configuration; empty once one was accepted
};

/// What runs (or does not) behind an entry of mcp.json, for /health?detailed=true.
struct McpServerHealth {
    std::string label;
    std::string transport;                              // stdio, http, sse
    std::string state;                                  // idle, starting, ready, failed
    std::string protocol_version = {};                  // of an open session
    std::size_t sessions = 0;                           // open now
    std::optional<std::vector<std::string>> tools = {}; // by name; nullopt = never listed
    std::string last_error = {};                        // for people; no secrets
    std::vector<std::string> stderr_lines = {};         // the last ones, oldest first
    std::vector<std::string> refused_tools = {};        // not offered, with the reason
    std::vector<std::string> changed_tools = {};        // whose definition is not the pinned one
};

/// How the store of conversations is doing.
struct StoreHealth {
    std::string name; // in words
    bool is_ready = false;
    std::string reason = {}; // why not; no secrets
    int schema_version = 0;  // 0 = not known yet
};

struct GatewayShared {
    policy::ApiKeys keys;
    std::vector<std::string> cors_origins;
    bool allow_anonymous = false; // it was asked for on purpose: Host is not checked
    mutable Admission admission;
    std::chrono::milliseconds commit_stream_after{15'000}; // silence before a stream's head is sent all the same
    std::string version;
    bool log_texts = false; // as Settings
    std::atomic<bool> draining{false};
    std::function<std::string(agents::Catalogue const&)> metrics_page; // all loops summed up; any thread
    std::function<std::shared_ptr<ReloadState const>()> reload_state;  // any thread
    std::function<StoreHealth()> store_health;                         // any thread
    std::function<std::vector<McpServerHealth>()> mcp_health;          // any thread; may be empty: nothing runs
    std::unique_ptr<IdempotencyStore> idempotency;                     // null: Idempotency-Key is not looked at
    std::vector<std::string> session_headers = default_session_headers();
    UserForwarding forwarding;
    /// Of large bodies; joined before the loops end. null: each loop reads its own.
    boost::asio::thread_pool* readers = nullptr;
};

class Gateway final : public net::HttpHandler {
public:
    Gateway(net::Loop& loop, providers::Session& session, GatewayShared const& shared,
            std::shared_ptr<agents::Catalogue const> catalogue, agents::ToolServices& tools,
            memory::ConversationStore& conversations, policy::UsageLimits& limits);

    /// On the loop's thread. Requests under way keep the catalogue that they started with.
    void use(std::shared_ptr<agents::Catalogue const> catalogue) { catalogue_ = std::move(catalogue); }
    void use(StoredKeys keys) { stored_keys_ = std::move(keys); }

    std::optional<net::Response> admit(net::RequestHead const& head, net::Ticket& ticket) override;
    core::Awaitable<void> handle(net::Request& request, net::Exchange& exchange) override;
    net::Response refuse(int status, std::string_view reason) override;

private:
    core::Awaitable<void> chat(net::Request& request, net::Exchange& exchange, RequestState& state);

    /// To be read beside the loop.
    bool is_large(net::Request const& request) const noexcept;

    /// null: the request was answered without a run. Errors: what the client is to be told.
    core::Task<std::unique_ptr<ChatJob>> prepare_chat(net::Request& request, net::Exchange& exchange,
                                                      RequestState& state);
    std::unique_ptr<agents::Run> make_run(ChatJob const& job, agents::ConversationTurn* conversation,
                                          RequestState const& state);
    core::Awaitable<void> run_chat(ChatJob& job, agents::ConversationTurn* conversation, net::Exchange& exchange,
                                   RequestState& state);
    core::Awaitable<void> run_remembered(ChatJob& job, net::Exchange& exchange, RequestState& state);

    /// Whose conversations a request is about.
    static std::string owner_of(RequestState const& state);
    core::Awaitable<void> stream_run(agents::Run& run, ChatJob& job, net::Exchange& exchange, RequestState& state);
    core::Awaitable<void> collect_run(agents::Run& run, ChatJob& job, net::Exchange& exchange, RequestState& state);
    void end_failed(ChatStreamWriter& writer, core::Error const& error, net::Exchange& exchange, RequestState& state,
                    std::string& out);
    void begin_stream(net::Exchange& exchange, RequestState& state);

    /// The claim of a new request, or the answer that was kept. Without the header neither. Errors: what the client is
    /// told of its key.
    core::Task<IdempotencyStore::Found> claim_answer(net::RequestHead const& head, ChatRequest const& request,
                                                     net::Exchange& exchange, RequestState const& state);
    core::Awaitable<void> keep_answer(KeptAnswer& kept, RequestState const& state);
    core::Awaitable<void> replay(StoredAnswer stored, ChatReply& reply, net::Exchange& exchange, RequestState& state);
    core::Awaitable<void> send_whole(StoredAnswer answer, ChatReply& reply, net::Exchange& exchange,
                                     RequestState& state);
    core::Awaitable<void> conversation_page(net::Request& request, net::Exchange& exchange, RequestState& state);
    core::Task<net::Response> conversation_answer(core::Context const& context, net::Request const& request,
                                                  RouteId route, std::string first, std::string second,
                                                  std::string principal);
    core::Task<net::Response> fork_conversation(core::Context const& context, memory::ConversationKey key,
                                                std::string_view body);
    core::Awaitable<void> embeddings(net::Request& request, net::Exchange& exchange, RequestState& state);
    void answer_page(RouteId route, net::Request const& request, net::Exchange& exchange, RequestState& state);
    core::Result<net::Response> page(RouteId route, net::Request const& request, std::string_view parameter,
                                     policy::KeyRecord const* key) const;

    /// What the client is told of an error: a cancelled run of a client that is still there was cut by a shutdown.
    static core::Error told_error(core::Error error, net::Exchange const& exchange);

    void mark_first_token(RequestState& state);
    void note_tools(RequestState& state, std::span<chat::RunEvent const> events);
    static void note(RequestState& state, core::Error const& error);
    void answer(net::Exchange& exchange, RequestState& state, net::Response response);
    void fail(net::Exchange& exchange, RequestState& state, core::Error const& error);
    void end_thrown(std::exception_ptr const& thrown, net::Exchange& exchange, RequestState& state);
    void decorate(net::Response& response, RequestState const& state) const;
    // gateway_keys.cpp
    std::optional<core::Error> check_key(net::RequestHead const& head, Scope scope, net::Ticket& ticket) const;
    bool wants_keys() const noexcept {
        return !shared_.keys.empty() || !stored_keys_.book->empty() || may_have_unread_keys();
    }
    /// No key is known, but the store may have some: nobody could read it since the start.
    bool may_have_unread_keys() const noexcept {
        return stored_keys_.version < 0 && !stored_keys_.is_current && shared_.keys.empty() && !shared_.allow_anonymous;
    }
    std::shared_ptr<policy::KeyRecord const> stored_key(std::string_view principal) const;
    struct PricedModel {
        std::string_view provider, name;
        std::optional<agents::ModelPrice> price;
    };
    static std::int64_t tokens_in(std::size_t bytes) noexcept; // roughly
    /// For a key with limits. Errors: those of UsageLimits::reserve, kPermissionDenied for a missing price.
    core::Task<policy::Reservation> reserve_run(agents::Agent const& agent, ChatRequest const& request,
                                                core::Context const& context, RequestState& state);
    core::Task<policy::Reservation> reserve(chat::Usage estimate, std::vector<PricedModel> models,
                                            core::Context const& context, RequestState& state);
    core::Awaitable<void> settle(policy::Reservation const& reservation, RequestState const& state, bool client_gone);
    static void add_rate_limits(net::ResponseFields& headers, policy::RateLimitView const& view);
    std::optional<core::Error> check_origin(net::RequestHead const& head) const;
    bool origin_allowed(std::string_view origin, std::string_view host) const;
    net::Response preflight(net::RequestHead const& head, Match const& match, net::Ticket const& ticket) const;
    net::Response refusal(net::RequestHead const& head, net::Ticket const& ticket, core::Error const& error,
                          std::string_view allow);
    void log(RequestState const& state, bool client_gone);

    net::Loop& loop_;
    providers::Session& session_;
    GatewayShared const& shared_;
    std::shared_ptr<agents::Catalogue const> catalogue_;
    agents::ToolServices& tools_;
    memory::ConversationStore& conversations_;
    policy::UsageLimits& limits_;
    StoredKeys stored_keys_;
    agents::Summariser summariser_;
    GatewayMetrics metrics_;
};

} // namespace parley::server

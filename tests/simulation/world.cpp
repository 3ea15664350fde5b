#include "tests/simulation/world.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

#include "agents/tool_services.hpp"
#include "memory/conversations.hpp"
#include "policy/usage_limits.hpp"
#include "providers/session.hpp"
#include "server/gateway.hpp"
#include "server/memory_idempotency_store.hpp"
#include "server/wall_clock.hpp"
#include "tests/simulation/wait.hpp"

namespace parley::simulation {
namespace {

constexpr milliseconds kWritten{1'600};     // until a slow store has written an answer, which is waited for
constexpr milliseconds kAtOnce{100};        // until what a cancelled request began must have stopped
constexpr milliseconds kStoreSlack{12'000}; // settling, and what was begun to be stored, on the slowest store
constexpr milliseconds kHorizon{120'000};   // by then nobody runs any more
constexpr milliseconds kDeadlineSlack{100}; // two sweeps of the loop

boost::asio::thread_pool& pool() { // of name lookups: never used
    static boost::asio::thread_pool made(1);
    return made;
}

core::LogOptions log_options(bool is_verbose) {
    static std::FILE* const nowhere = std::fopen("/dev/null", "w");
    if (is_verbose) return {core::LogLevel::kInfo, core::LogFormat::kText, 1, false, false};
    return {core::LogLevel::kError, core::LogFormat::kText, ::fileno(nowhere), false, true};
}

std::vector<std::string> wire_names() {
    std::vector<std::string> names{"none__such"};
    for (auto const server : kServers)
        for (auto const tool : kTools)
            names.push_back(fmt::format("{}__{}", server, tool));
    return names;
}

policy::KeyRecord key_record(std::string_view name, policy::KeyLimits limits) {
    policy::KeyRecord record;
    record.id = name;
    record.digest = core::sha256(fmt::format("sk-{}", name));
    record.name = name;
    record.limits = limits;
    return record;
}

server::StoredKeys stored_keys(Weather const& weather) {
    policy::KeyLimits rate;
    rate.requests_per_minute = weather.requests_per_minute;
    policy::KeyLimits budget;
    budget.budget_tokens = weather.budget_tokens;
    std::vector<policy::KeyRecord> records{key_record(kKeys[0], {}), key_record(kKeys[1], rate),
                                           key_record(kKeys[2], budget)};
    return {std::make_shared<policy::KeyBook const>(std::move(records)), 0, true};
}

agents::GatewayConfig config_of(Weather const& weather) {
    agents::GatewayConfig config;
    for (int i = 0; i < weather.models_count; ++i) {
        agents::ProviderConfig provider;
        provider.name = fmt::format("p{}", i);
        provider.type = "demo";
        config.providers.push_back(std::move(provider));
        agents::AgentConfig stands_in;
        stands_in.agent_id = fmt::format("model{}", i);
        stands_in.provider = fmt::format("p{}", i);
        stands_in.model = "m";
        config.agents.push_back(std::move(stands_in));
    }
    for (auto const name : kAgents) {
        auto agent = config.agents.front();
        agent.agent_id = name;
        for (int i = 1; i < weather.models_count; ++i)
            agent.fallbacks.push_back(fmt::format("model{}", i));
        agent.history = name == "kept"   ? agents::HistoryMode::kServer
                        : name == "told" ? agents::HistoryMode::kClient
                                         : agents::HistoryMode::kAuto;
        agent.limits.timeout_s = weather.timeout_s;
        agent.limits.max_tool_rounds = 2;
        agent.limits.parallel_tool_calls_max = 2;
        agent.compression.enabled = false;
        agent.tool_progress = agents::ToolProgress::kQuiet;
        config.agents.push_back(std::move(agent));
    }
    for (auto const label : kServers) {
        agents::McpServerConfig server;
        server.label = label;
        server.command = "true"; // never started
        config.mcp_servers.push_back(std::move(server));
    }
    return config;
}

} // namespace

Weather draw_weather(Chance& chance) {
    Weather weather;
    auto const some = [&chance](int most) { return chance.percent(50) ? chance.between(0, most) : 0; };
    weather.store = {some(40), some(15), some(10), some(20), kTrouble};
    weather.tools = {some(40), some(25), some(40), some(20), kTrouble};
    weather.models_count = chance.between(1, 3);
    weather.models.refuses = some(40);
    weather.models.breaks_off = some(25);
    weather.models.hangs = some(15);
    weather.models.tools = chance.between(0, 80);
    weather.models.until = kTrouble;
    weather.retries = chance.between(0, 3);
    weather.timeout_s = chance.between(3, 6);
    weather.requests_per_minute = chance.between(1, 5);
    weather.budget_tokens = chance.between(100, 600);
    return weather;
}

namespace {

std::vector<std::vector<Outage>> draw_outages(Chance& chance) {
    constexpr std::array kCodes{core::Errc::kUpstreamUnavailable, core::Errc::kUpstreamFailed,
                                core::Errc::kUpstreamTimeout, core::Errc::kRateLimited, core::Errc::kUpstreamAuth};
    std::vector<std::vector<Outage>> outages(static_cast<std::size_t>(chance.between(1, 2)));
    for (auto& endpoint : outages) {
        for (auto n = chance.between(0, 1); n > 0; --n) {
            auto const begin = chance.ms(0, 5'000);
            auto const end = std::min(kTrouble, begin + chance.ms(1, 3'000));
            auto const code = kCodes[static_cast<std::size_t>(chance.between(0, kCodes.size() - 1))];
            auto const asks = code == core::Errc::kRateLimited && chance.percent(50);
            endpoint.push_back({begin, end, code, chance.ms(0, code == core::Errc::kUpstreamTimeout ? 1'500 : 20),
                                asks ? chance.ms(1, 60'000) : milliseconds(0)});
        }
    }
    return outages;
}

} // namespace

struct World::Replica {
    Replica(net::Loop& loop, server::GatewayShared const& shared, Ledger& ledger, Chance& chance,
            Weather const& weather, SimulatedStore& store, std::shared_ptr<agents::Catalogue const> catalogue,
            agents::ParkedCalls& parked)
        : session(loop, pool()),
          tool_host(ledger, chance, weather.tools),
          tools{tool_host, parked},
          database(store.face()),
          conversations(*database, server::wall_clock_ms),
          limits(*database, server::wall_clock_ms),
          gateway(loop, session, shared, std::move(catalogue), tools, conversations, limits) {
        gateway.use(stored_keys(weather));
    }

    providers::Session session;
    ScriptedTools tool_host;
    agents::ToolServices tools;
    std::unique_ptr<storage::Database> database;
    memory::Conversations conversations;
    policy::UsageLimits limits;
    server::Gateway gateway;
};

struct World::Parts {
    Parts(std::uint64_t seed, std::optional<Weather> given, bool is_verbose)
        : time(seed),
          chance(seed),
          ledger(is_verbose),
          weather(given ? *given : draw_weather(chance)),
          loop(log_options(is_verbose)),
          store(ledger, chance, weather.store, loop.executor()) {
        shared.idempotency = std::make_unique<server::MemoryIdempotencyStore>();
        store.usage.limits = {{std::string(kKeys[0]), {}},
                              {std::string(kKeys[1]), {weather.requests_per_minute, 0}},
                              {std::string(kKeys[2]), {0, weather.budget_tokens}}};
        for (int i = 0; i < weather.models_count; ++i) {
            auto models = weather.models;
            models.outages = given ? std::vector<std::vector<Outage>>(1) : draw_outages(chance);
            providers.push_back(std::make_shared<ScriptedModel>(fmt::format("p{}", i), ledger, chance, models,
                                                                weather.retries, wire_names()));
        }
        catalogue = agents::Catalogue::build(config_of(weather), nullptr, 0);
        // The one seam that production code has no door to: other providers than the registry makes.
        for (auto const& agent : catalogue->agents()) {
            for (auto& candidate : const_cast<agents::Agent&>(agent).candidates) {
                auto const index = static_cast<std::size_t>(
                    candidate.agent_id.starts_with("model") ? candidate.agent_id.back() - '0' : 0);
                candidate.model = providers[index]->prepare({});
                candidate.provider = providers[index];
            }
        }
        for (int i = 0; i < 2; ++i)
            replicas.push_back(
                std::make_unique<Replica>(loop, shared, ledger, chance, weather, store, catalogue, parked));
    }

    VirtualTime time;
    Chance chance;
    Ledger ledger;
    Weather weather;
    server::GatewayShared shared;
    agents::ParkedCalls parked;
    net::Loop loop;
    SimulatedStore store;
    std::vector<std::shared_ptr<ScriptedModel>> providers;
    std::shared_ptr<agents::Catalogue const> catalogue;
    std::vector<std::unique_ptr<Replica>> replicas;
};

World::World(std::uint64_t seed, Weather weather, bool is_verbose)
    : parts_(std::make_unique<Parts>(seed, std::move(weather), is_verbose)) {}

World::World(std::uint64_t seed, bool is_verbose) : parts_(std::make_unique<Parts>(seed, std::nullopt, is_verbose)) {}

World::~World() {
    if (actors_ != 0) (void)parts_.release(); // a rule is broken, and somebody still points into it
}

Ledger& World::ledger() noexcept {
    return parts_->ledger;
}

Chance& World::chance() noexcept {
    return parts_->chance;
}

void World::spawn(core::Awaitable<void> actor) {
    ++actors_;
    boost::asio::co_spawn(parts_->loop.executor(), std::move(actor), [this](std::exception_ptr failure) {
        --actors_;
        if (failure) std::rethrow_exception(failure);
    });
}

core::Awaitable<Answered> World::ask(std::size_t replica, Sending sending, Request about) {
    auto& ledger = parts_->ledger;
    auto& gateway = parts_->replicas[replica]->gateway;
    auto& request = ledger.begin(std::move(about));
    auto const timeout = sending.timeout_s != 0 && !sending.streams
                             ? std::min(sending.timeout_s, parts_->weather.timeout_s)
                             : parts_->weather.timeout_s;
    request.deadline = request.began + std::chrono::seconds(timeout);
    ledger.note(request.id, "asks {} at replica {} with key {}: {}", sending.agent, replica,
                kKeys[static_cast<std::size_t>(request.key)], request.question);
    auto const exchange = std::make_shared<ClientExchange>(parts_->loop, ledger, parts_->chance, request, sending.slow);
    auto const is_first = ledger.requests().size() == 1;
    if (is_first) first_ = exchange;
    if (sending.leaves_after) spawn(stop_later(exchange, request, *sending.leaves_after, sending.is_cut));
    auto http = http_request(sending, request.id);
    auto refused = gateway.admit(http.head, http.ticket);
    if (refused) {
        exchange->respond(std::move(*refused));
    } else {
        co_await gateway.handle(http, *exchange);
    }
    if (is_first) first_.reset();
    request.is_over = true;
    auto const now = VirtualTime::now();
    ledger.note(request.id, "is over");
    auto const end = request.deadline + kDeadlineSlack + exchange->slowed();
    ledger.expect(!exchange->told_end() || *exchange->told_end() <= end, "a client is told the end after its deadline",
                  request.id);
    ledger.expect(now <= end + kStoreSlack, "a request goes on long after its deadline", request.id);
    auto answered = exchange->read_answer();
    if (answered.is_whole) ledger.acknowledged(request, answered.content);
    co_return answered;
}

core::Awaitable<void> World::stop_later(std::shared_ptr<ClientExchange> exchange, Request& request, milliseconds after,
                                        bool is_cut) {
    core::Cancellation never;
    core::Context const context{never};
    (void)co_await wait(context, after);
    stop(exchange, request, is_cut);
}

void World::stop(std::shared_ptr<ClientExchange> const& exchange, Request& request, bool is_cut) {
    if (exchange->told_end() || request.stopped()) return;
    if (is_cut) {
        exchange->cut();
    } else {
        exchange->leave();
    }
    spawn(check_stopped(exchange, request));
}

void World::stop_first(bool is_cut) {
    if (first_) stop(first_, *parts_->ledger.find("r0"), is_cut);
}

core::Awaitable<void> World::check_stopped(std::shared_ptr<ClientExchange> exchange, Request& request) {
    core::Cancellation never;
    core::Context const context{never};
    (void)co_await wait(context, kAtOnce);
    bool const has_to_store = request.is_remembered || request.key != 0;
    parts_->ledger.expect(request.is_over || has_to_store || exchange->slowed() > milliseconds(0),
                          "a request whose client has left does not end at once", request.id);
    parts_->ledger.expect(request.active_streams == 0, "a model call goes on for a request that was cancelled",
                          request.id);
    parts_->ledger.expect(request.active_tools == 0, "a tool goes on for a request that was cancelled", request.id);
    auto const is_ended = [&] {
        return exchange->client_gone() || exchange->told_end() || exchange->slowed() > milliseconds(0);
    };
    if (request.is_remembered && !is_ended()) (void)co_await wait(context, kWritten);
    parts_->ledger.expect(is_ended(), "a request that the server cuts does not end at once", request.id);
}

// ---- the run of the world

void World::steps_until(std::function<bool()> const& is_over) {
    auto& context = parts_->loop.context();
    while (!is_over()) {
        if (VirtualTime::now() > kHorizon) return parts_->ledger.expect(false, "somebody waits for ever");
        if (on_step) on_step(steps_);
        ++steps_;
        context.run_one();
    }
}

bool World::run() {
    auto& loop = parts_->loop;
    loop.post([&loop] { loop.stop(); });
    loop.run(); // begins to sweep deadlines
    loop.context().restart();
    steps_until([this] { return actors_ == 0; });
    on_step = nullptr;
    if (actors_ != 0) return false;
    spawn(check_trees());
    steps_until([this] { return actors_ == 0; });
    auto const end = VirtualTime::now() + kAtOnce; // whatever still runs in the background
    steps_until([end] { return VirtualTime::now() >= end; });
    check_end();
    return parts_->ledger.broken().empty();
}

// What clients were told stands in the tree: once, whole, each answer behind its question.
core::Awaitable<void> World::check_trees() {
    auto& ledger = parts_->ledger;
    auto const face = parts_->store.face();
    memory::Conversations conversations(*face, server::wall_clock_ms);
    core::Cancellation never;
    core::Context const context{never};
    std::map<std::pair<int, int>, bool> looked_at;
    for (auto const& request : ledger.requests()) {
        if (!request.is_remembered || !looked_at.try_emplace({request.session, request.key}, true).second) continue;
        auto const who = fmt::format("session {}", request.session);
        memory::ConversationKey key{"", fmt::format("key:{}", kKeys[static_cast<std::size_t>(request.key)]),
                                    request.session_name};
        auto const tree = co_await conversations.tree(context, key);
        ledger.expect(tree.has_value(), "the store does not answer although all is well", who);
        if (!tree) co_return;
        std::map<memory::TurnId, memory::StoredTurn const*> by_id;
        for (auto const& turn : tree->turns) {
            by_id[turn.id] = &turn;
            if (turn.kind == memory::TurnKind::kAnswer) ledger.check_stored_answer(turn.messages, who);
            ledger.expect(turn.parent == memory::kRoot || by_id.contains(turn.parent), "a turn without its parent",
                          who);
        }
        auto const told = ledger.sessions().find(request.session);
        if (told == ledger.sessions().end()) continue;
        for (auto const& one : told->second) {
            auto const holds = [&](memory::StoredTurn const& turn) {
                if (turn.kind != memory::TurnKind::kAnswer || !by_id.contains(turn.parent)) return false;
                if (by_id[turn.parent]->messages.find(one.question) == std::string::npos) return false;
                return std::ranges::all_of(
                    one.pieces, [&](auto const& piece) { return turn.messages.find(piece) != std::string::npos; });
            };
            ledger.expect(std::ranges::count_if(tree->turns, holds) >= 1,
                          "an acknowledged answer is not in the tree behind its question", who);
        }
    }
}

void World::check_end() {
    auto& ledger = parts_->ledger;
    for (auto const& request : ledger.requests()) {
        ledger.expect(request.active_streams == 0, "a model call is left over", request.id);
        ledger.expect(request.active_tools == 0, "a tool is left over", request.id);
    }
    for (auto const& provider : parts_->providers) {
        auto const& health = provider->kept_health();
        for (std::size_t i = 0; i < health.endpoints(); ++i)
            ledger.expect(health.view(i, std::chrono::steady_clock::now()).in_flight == 0,
                          "a breaker counts a call that has ended", provider->name());
    }
    parts_->store.usage.check_end(parts_->store.look("SELECT key_id, spent_tokens FROM key_usage"));
}

} // namespace parley::simulation

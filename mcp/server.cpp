#include "mcp/server.hpp"

#include <algorithm>
#include <utility>

namespace parley::mcp {
namespace {

using core::Errc;
using core::make_error;
using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kRestartMin{1'000};
constexpr std::chrono::milliseconds kRestartMax{30'000};
constexpr core::MetricName kSessions{"parley_mcp_sessions", "Sessions with MCP servers now open.",
                                     core::MetricKind::kGauge};
constexpr core::MetricName kStarts{"parley_mcp_starts_total", "Sessions with MCP servers that were begun.",
                                   core::MetricKind::kCounter};

std::string_view transport_name(Transport transport) noexcept {
    switch (transport) {
        case Transport::kStdio:
            return "stdio";
        case Transport::kHttp:
            return "http";
        case Transport::kSse:
            return "sse";
        case Transport::kHttpOrSse:
            return "http or sse";
    }
    return "";
}

// What the server is given, and may say again: in an error, or as its last words.
std::shared_ptr<core::Redactor> secrets_of(ServerSpec const& spec) {
    auto secrets = std::make_shared<core::Redactor>();
    for (auto const& [name, value] : spec.env)
        secrets->add(value.reveal());
    for (auto const& [name, value] : spec.headers)
        secrets->add(value.reveal());
    for (auto const& arg : spec.args) { // --token=…: the value by itself, too
        secrets->add(arg.reveal());
        secrets->add(std::string_view(arg.reveal()).substr(arg.reveal().find('=') + 1));
    }
    std::string_view query = spec.url.reveal();
    query.remove_prefix(std::min(query.find('?'), query.size()));
    while (!query.empty()) {
        query.remove_prefix(1);
        auto const pair = query.substr(0, query.find('&'));
        secrets->add(pair.substr(pair.find('=') + 1));
        query.remove_prefix(pair.size());
    }
    auto const& oauth = spec.oauth;
    for (auto const* const secret :
         {&oauth.client_secret, &oauth.private_key_pem, &oauth.assertion, &oauth.idp_client_secret})
        secrets->add(secret->reveal());
    return secrets;
}

// What a program says instead of the protocol is often why nothing else comes of it.
core::Error with_noise(core::Error error, std::string const& noise) {
    auto const is_silence = error.code == Errc::kDeadlineExceeded || error.code == Errc::kUpstreamTimeout ||
                            error.code == Errc::kUpstreamUnavailable;
    if (!is_silence) return error;
    if (error.message.ends_with('.')) error.message.pop_back();
    error.message += "; it writes to stdout what is not the protocol: \"" + noise + "\".";
    return error;
}

} // namespace

Server::Server(TransportParts parts, std::shared_ptr<ServerSpec const> spec, Pins& pins, core::MetricSet& metrics)
    : parts_(std::move(parts)),
      spec_(std::move(spec)),
      pins_(pins),
      pin_identity_(pin_identity(*spec_)),
      call_ended_(parts_.loop),
      guest_left_(parts_.loop),
      tasks_(parts_.loop),
      metrics_(metrics),
      sessions_gauge_(metrics.counter(kSessions, {{"server", spec_->label}})) {
    parts_.secrets = secrets_of(*spec_);
}

Server::~Server() = default;

std::string Server::seat_name(Caller const& caller) const {
    if (spec_->shared) return {};
    return caller.user_id.empty() ? caller.principal : caller.principal + '\0' + caller.user_id;
}

Server::Seat& Server::seat_of(Caller const& caller) {
    auto& seat = seats_[seat_name(caller)];
    if (!seat) seat = std::make_shared<Seat>(parts_.loop);
    seat->last_used = steady_clock::now();
    return *seat;
}

// ---- sessions

core::Task<std::shared_ptr<Session>> Server::session(core::Context const& context, Caller const& caller, Seat& seat) {
    for (;;) {
        if (closing_) co_return make_error(Errc::kUpstreamUnavailable, "The server is being closed.");
        if (seat.session && seat.session->is_lost()) {
            failed(seat, seat.session->lost_reason());
            drop(seat);
        }
        if (seat.session) co_return seat.session;
        auto const now = steady_clock::now();
        if (!seat.starting && now < seat.next_try) co_return tried_again(seat.last_error, seat.next_try);
        auto const failures = seat.failures;
        if (!seat.starting) {
            seat.starting = true;
            seat.start_begun = now;
            tasks_.spawn(start(seat, caller));
        }
        // Somebody has to wait for the first start, but after one that failed it may be the same again.
        auto const is_in_doubt = seat.failures > 0 || hung_starts_ > 0;
        auto const until = is_in_doubt ? seat.start_begun + kPatience : core::SteadyTime::max();
        auto const end = std::min(until, context.deadline);
        while (seat.starting && !context.cancellation.cancelled() && steady_clock::now() < end)
            co_await seat.changed.wait(context, end);
        if (context.cancellation.cancelled()) co_return make_error(Errc::kCancelled, "The client went away.");
        if (seat.starting && steady_clock::now() >= context.deadline)
            co_return make_error(Errc::kDeadlineExceeded, "The run took longer than this agent may take.");
        if (seat.starting) {
            // Another one's reason may be about that one's account.
            auto const reason =
                seat.last_error.empty() ? std::string("It did not start in time before.") : seat.last_error;
            co_return make_error(Errc::kUpstreamUnavailable, reason + " It is being started again.");
        }
        if (seat.failures > failures) co_return make_error(Errc::kUpstreamUnavailable, seat.last_error);
    }
}

// Belongs to the server and not to whoever came first: others wait for it too.
core::Awaitable<void> Server::start(Seat& seat, Caller caller) {
    auto stale = [weak = seat.weak_from_this()] {
        if (auto const strong = weak.lock()) strong->list_until = {};
    };
    auto session = std::make_shared<Session>(parts_, spec_, std::move(stale));
    core::Context const context{life_, steady_clock::now() + spec_->start_timeout};
    auto const started = co_await session->start(context, caller, era_);
    metrics_.counter(kStarts, {{"server", spec_->label}, {"outcome", started ? "ready" : "failed"}}).add();
    if (started && closing_) { // nobody would close it any more
        co_await session->close();
    } else if (started) {
        hung_starts_ = 0;
        seat.session = std::move(session);
        seat.proven = false;
        seat.last_error.clear();
        seat.list = nullptr;
        seat.list_next_try = {};
        server_name_ = seat.session->server_name();
        last_error_.clear();
        sessions_gauge_.add(1);
        parts_.loop.log()
            .info("mcp_server_ready")
            .add("server", spec_->label)
            .add("protocol", seat.session->protocol_version())
            .add("name", server_name_);
    } else {
        auto error = started.error();
        if (error.code == Errc::kDeadlineExceeded) {
            ++hung_starts_; // that says something of the server, whoever asked
            error.message = "It was not ready within " + std::to_string(spec_->start_timeout.count() / 1000) + " s.";
        }
        if (!session->noise().empty()) error = with_noise(std::move(error), session->noise());
        last_words_ = (*parts_.secrets)(session->diagnosis());
        failed(seat, error);
        co_await session->close();
    }
    seat.starting = false;
    seat.changed.notify_all();
}

std::chrono::milliseconds Server::pause_after(int failures) {
    auto const doubled = kRestartMin * (1 << std::min(failures - 1, 5));
    auto const limit = std::min<std::chrono::milliseconds>(doubled, kRestartMax);
    auto const jitter = static_cast<double>(parts_.loop.ids().number() % 1'000) / 2'000.0; // 0 to 0.5
    return std::chrono::milliseconds(static_cast<std::int64_t>(static_cast<double>(limit.count()) * (1.0 - jitter)));
}

core::Error Server::tried_again(std::string const& reason, core::SteadyTime next_try) {
    auto const wait = std::chrono::ceil<std::chrono::seconds>(next_try - steady_clock::now()).count();
    return make_error(Errc::kUpstreamUnavailable, reason + " It is tried again in " + std::to_string(wait) + " s.");
}

// It has answered: what went wrong before is over.
void Server::prove(Seat& seat) {
    seat.proven = true;
    seat.failures = 0;
}

void Server::failed(Seat& seat, core::Error const& error) {
    seat.last_error = (*parts_.secrets)(error.message);
    last_error_ = seat.last_error;
    if (seat.session) last_words_ = (*parts_.secrets)(seat.session->diagnosis());
    // One that worked until now may be tried at once; one that never came up, or falls each time, later and later.
    auto const worked = seat.session && seat.proven;
    seat.failures = worked ? 0 : seat.failures + 1;
    if (seat.failures > 0) seat.next_try = steady_clock::now() + pause_after(seat.failures);
    parts_.loop.log()
        .warn("mcp_server_failed")
        .add("server", spec_->label)
        .add("failures", static_cast<std::int64_t>(seat.failures))
        .add("reason", plain_text(seat.last_error));
}

// The session is of no use any more, and somebody else may have seen that already.
void Server::leave(Seat& seat, std::shared_ptr<Session> const& session, core::Error const& error) {
    if (seat.session != session) return;
    failed(seat, session->is_lost() ? session->lost_reason() : error);
    drop(seat);
}

void Server::drop(Seat& seat) {
    if (auto session = unhook(seat)) tasks_.spawn(retire(std::move(session)));
}

// The server has forgotten the session, as it says; calls that it took before may still be answered.
void Server::let_end(Seat& seat) {
    if (auto session = unhook(seat)) tasks_.spawn(retire_at_its_end(std::move(session)));
}

std::shared_ptr<Session> Server::unhook(Seat& seat) {
    if (!seat.session) return nullptr;
    sessions_gauge_.add(-1);
    seat.list = nullptr;
    seat.list_until = {};
    return std::exchange(seat.session, nullptr);
}

core::Awaitable<void> Server::retire(std::shared_ptr<Session> session) {
    co_await session->close();
}

// Each request has its own limit, so this ends.
core::Awaitable<void> Server::retire_at_its_end(std::shared_ptr<Session> session) {
    core::Context const context{life_};
    co_await session->all_answered(context);
    co_await session->close();
}

void Server::tidy(core::SteadyTime now) {
    if (spec_->idle_stop.count() == 0) return;
    for (auto it = seats_.begin(); it != seats_.end();) {
        auto& seat = *it->second;
        auto const unused =
            seat.users == 0 && !seat.starting && !seat.listing && now - seat.last_used >= spec_->idle_stop;
        if (unused) drop(seat);
        it = unused ? seats_.erase(it) : std::next(it);
    }
}

core::Awaitable<void> Server::close() {
    closing_ = true;
    life_.cancel();
    for (auto& [name, seat] : seats_)
        drop(*seat);
    call_ended_.notify_all(); // whoever waits for a place hears that there will be none
    core::Cancellation never;
    core::Context const context{never};
    while (guests_ != 0)
        co_await guest_left_.wait(context);
    co_await tasks_.all_ended();
}

// ---- health

ServerHealth Server::health() const {
    ServerHealth out;
    out.label = spec_->label;
    out.transport = transport_name(spec_->transport);
    out.name = server_name_;
    out.refused_tools = refused_tools_;
    out.changed_tools = changed_tools_;
    auto starting = false;
    for (auto const& [name, seat] : seats_) {
        out.sessions += seat->session && !seat->session->is_lost() ? 1 : 0;
        starting = starting || seat->starting;
        if (seat->session) out.protocol_version = seat->session->protocol_version();
        if (!seat->list) continue;
        out.tools.emplace();
        for (auto const& tool : seat->list->tools)
            out.tools->push_back(tool.name);
    }
    out.state = out.sessions > 0 ? "ready" : starting ? "starting" : last_error_.empty() ? "idle" : "failed";
    out.last_error = plain_text(last_error_);
    constexpr std::size_t kLinesShown = 20;
    std::string_view rest = last_words_;
    while (!rest.empty()) {
        auto const end = std::min(rest.find('\n'), rest.size());
        if (end != 0) out.stderr_lines.push_back(plain_text(rest.substr(0, end)));
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    if (out.stderr_lines.size() > kLinesShown)
        out.stderr_lines.erase(out.stderr_lines.begin(), out.stderr_lines.end() - kLinesShown);
    return out;
}

} // namespace parley::mcp

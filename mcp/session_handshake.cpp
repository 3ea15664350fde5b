// How a session begins: which era the server is of, and the handshake of that era. Source: specification 2026-07-28,
// "Versioning" (what tells the eras apart), and 2025-11-25, "Lifecycle".
#include <boost/json/array.hpp>

#include <algorithm>
#include <utility>

#include "mcp/session.hpp"

namespace parley::mcp {
namespace {

namespace json = boost::json;

using core::Errc;
using core::make_error;
using std::chrono::steady_clock;

// A program may be slow to come up (npx downloads first), so silence decides nothing; it only lets us ask the other way
// too.
constexpr std::chrono::milliseconds kProbePatience{5'000};
constexpr std::chrono::hours kEraRemembered{24};

Request quick(std::string method, std::chrono::milliseconds limit) {
    Request request{std::move(method)};
    request.idle_timeout = limit;
    request.timeout = limit;
    request.may_be_cancelled = false;
    return request;
}

core::Error told(RpcError const& error, std::string_view method) {
    return make_error(Errc::kUpstreamRejected, "It refused " + std::string(method) + ": " + plain_text(error.message) +
                                                   " (" + std::to_string(error.code) + ").");
}

bool speaks(RpcError const& error, std::string_view version) {
    auto const* const data = error.data.if_object();
    auto const* const supported = data ? data->if_contains("supported") : nullptr;
    if (!supported || !supported->is_array()) return false;
    return std::ranges::any_of(supported->get_array(), [version](json::value const& one) {
        return one.is_string() && one.get_string() == json::string_view(version.data(), version.size());
    });
}

} // namespace

core::Task<> Session::start(core::Context const& context, Caller const& caller, EraMemory& memory) {
    starter_ = caller;
    if (steady_clock::now() >= memory.until) memory = {};
    auto legacy_sse = spec_->transport == Transport::kSse || memory.legacy_sse;
    auto opened = co_await open(context, caller, legacy_sse);
    if (!opened) co_return opened.error();
    auto done = co_await shake_hands(context, caller, memory);
    // Some programs end at the first message that they do not expect: once more, as they like it.
    auto const ended = !done && lost_ && spec_->transport == Transport::kStdio && spec_->era == Era::kAuto;
    if (ended && memory.era == Era::kAuto) {
        co_await channel_->close();
        lost_.reset();
        modern_ = false;
        version_.clear();
        opened = co_await open(context, caller, false);
        if (!opened) co_return opened.error();
        done = co_await initialize(context, caller);
        if (done) memory.era = Era::kLegacy;
    }
    auto const status = done ? 0 : done.error().upstream_status;
    auto const may_be_sse = spec_->transport == Transport::kHttpOrSse && !legacy_sse;
    if (may_be_sse && (status == 400 || status == 404 || status == 405)) {
        co_await channel_->close();
        modern_ = false;
        version_.clear();
        legacy_sse = true;
        opened = co_await open(context, caller, true);
        if (!opened) co_return done.error(); // what it said to the newer way tells more
        done = co_await initialize(context, caller);
    }
    if (!done) co_return done.error();
    memory.era = modern_ ? Era::kModern : Era::kLegacy;
    memory.legacy_sse = legacy_sse && spec_->transport == Transport::kHttpOrSse;
    memory.until = steady_clock::now() + kEraRemembered;
    channel_->established(version_, modern_);
    if (modern_) tasks_.spawn(watch_changes());
    co_return core::Result<>{};
}

core::Task<> Session::open(core::Context const& context, Caller const& caller, bool legacy_sse) {
    Inbox& inbox = *this;
    if (spec_->transport == Transport::kStdio) {
        channel_ = make_stdio_channel(parts_, spec_, inbox);
    } else {
        auto made = legacy_sse ? make_sse_channel(parts_, spec_, inbox) : make_http_channel(parts_, spec_, inbox);
        if (!made) co_return made.error();
        channel_ = std::move(*made);
    }
    auto const opened = co_await channel_->open(context, caller_headers(*spec_, caller));
    co_return opened;
}

core::Task<> Session::shake_hands(core::Context const& context, Caller const& caller, EraMemory& memory) {
    auto const era = spec_->era != Era::kAuto ? spec_->era : memory.era;
    auto const is_sse = spec_->transport == Transport::kSse || memory.legacy_sse;
    if (era == Era::kLegacy || is_sse) {
        auto const done = co_await initialize(context, caller);
        co_return done;
    }
    if (era == Era::kAuto && spec_->transport == Transport::kStdio) {
        auto const done = co_await probe_stdio(context, caller, memory);
        co_return done;
    }
    auto const modern = co_await discover(context, caller, spec_->start_timeout);
    if (!modern) {
        auto const& error = modern.error();
        // Only a server that has answered has told its era: no connection, no authorisation, no 5xx is evidence.
        auto const answered = error.upstream_status >= 400 && error.upstream_status < 500 &&
                              error.code != Errc::kUpstreamAuth && error.upstream_status != 429;
        if (era == Era::kModern || !answered) co_return error;
    } else if (*modern) {
        co_return core::Result<>{};
    } else if (era == Era::kModern) {
        co_return make_error(Errc::kUpstreamRejected, "It does not speak the protocol of " +
                                                          std::string(kModernVersion) +
                                                          ", and its configuration allows no other.");
    }
    auto const done = co_await initialize(context, caller);
    co_return done;
}

// true = it is of the modern era, and what it can is known. false = it is of the other.
core::Task<bool> Session::discover(core::Context const& context, Caller const& caller,
                                   std::chrono::milliseconds limit) {
    modern_ = true;
    version_ = kModernVersion;
    for (auto attempt = 0;; ++attempt) {
        auto const reply = co_await request_once(context, caller, quick("server/discover", limit));
        if (reply && !reply->error) {
            if (boot_answered_with_discovery(*reply)) co_return true;
            break;
        }
        if (!reply) {
            modern_ = false;
            version_.clear();
            co_return reply.error();
        }
        auto const& error = *reply->error;
        // It knows the era but not the version, or wants something else of this request: once more is what it asks for.
        if (error.code == kUnsupportedVersion && attempt == 0 && speaks(error, kModernVersion)) continue;
        if (error.code == kUnsupportedVersion) break; // it may still speak an older one
        if (is_modern_error(error.code)) co_return true;
        // A modern server that has no discovery knows the other methods all the same: only legacy ones want a
        // handshake.
        if (spec_->era == Era::kModern && error.code == kMethodNotFound) co_return true;
        break;
    }
    modern_ = false;
    version_.clear();
    co_return false;
}

bool Session::boot_answered_with_discovery(Reply const& reply) {
    auto const* const versions = reply.result.if_contains("supportedVersions");
    auto const* const capabilities = object_in(reply.result, "capabilities");
    if (!capabilities && !versions) return false;
    if (capabilities) capabilities_ = *capabilities;
    if (auto const* const info = object_in(reply.result, "serverInfo")) server_info_ = *info;
    return true;
}

// Asks the modern way, and after some patience the old way as well, on the same pipe: whichever is answered decides.
core::Task<> Session::probe_stdio(core::Context const& context, Caller const& caller, EraMemory& memory) {
    auto const modern = co_await discover(context, caller, std::min(kProbePatience, spec_->start_timeout));
    if (modern && *modern) co_return core::Result<>{};
    if (!modern && modern.error().code != Errc::kUpstreamTimeout) co_return modern.error();
    auto const done = co_await initialize(context, caller);
    if (done || lost_ || modern) co_return done;
    // Silent before, and no handshake now: a modern server that was only slow to come up.
    auto const again = co_await discover(context, caller, spec_->start_timeout);
    if (again && *again) co_return core::Result<>{};
    (void)memory;
    co_return done.error();
}

core::Task<> Session::initialize(core::Context const& context, Caller const& caller) {
    modern_ = false;
    version_.clear();
    auto request = quick("initialize", spec_->start_timeout);
    request.params = {{"protocolVersion", kLegacyVersion},
                      {"capabilities", capabilities()},
                      {"clientInfo", json::object{{"name", "parley"}, {"version", PARLEY_VERSION}}}};
    auto const reply = co_await request_once(context, caller, request);
    if (!reply) co_return reply.error();
    if (reply->error) {
        auto error = told(*reply->error, "initialize");
        error.upstream_status = reply->http_status;
        co_return error;
    }
    auto const version = text_in(reply->result, "protocolVersion");
    if (std::ranges::find(kLegacyVersions, version) == kLegacyVersions.end()) {
        co_return make_error(Errc::kUpstreamRejected, "It speaks version '" + plain_text(version, 40) +
                                                          "' of the protocol, which is not known here.");
    }
    version_ = version;
    if (auto const* const info = object_in(reply->result, "serverInfo")) server_info_ = *info;
    if (auto const* const capabilities = object_in(reply->result, "capabilities")) capabilities_ = *capabilities;
    auto const sent = co_await notify(context, caller, "notifications/initialized");
    co_return sent;
}

// The modern way to hear of changes: a request that is answered for as long as it is open.
core::Awaitable<void> Session::watch_changes() {
    auto const* const tools = object_in(capabilities_, "tools");
    auto const* const changed = tools ? tools->if_contains("listChanged") : nullptr;
    if (!changed || !changed->is_bool() || !changed->get_bool()) co_return;
    core::Context const context{life_};
    constexpr std::chrono::milliseconds kPause{5'000};
    constexpr std::chrono::hours kOpen{24};
    while (!life_.cancelled() && !lost_) {
        Request request{"subscriptions/listen"};
        request.params = {{"notifications", json::object{{"toolsListChanged", true}}}};
        request.idle_timeout = kOpen;
        request.timeout = kOpen;
        auto const reply = co_await request_once(context, starter_, request);
        if (reply && reply->error) co_return; // not offered after all
        if (life_.cancelled() || lost_) co_return;
        auto const slept = co_await parts_.loop.sleep(context, kPause);
        if (!slept) co_return;
        on_tools_changed_(); // whatever was missed while it was closed
    }
}

core::Awaitable<void> Session::all_answered(core::Context const& context) {
    while (!pending_.empty() && !context.cancellation.cancelled())
        co_await answered_.wait(context);
}

core::Awaitable<void> Session::close() {
    life_.cancel();
    if (!lost_) {
        auto const reason = make_error(Errc::kUpstreamUnavailable, "The connection was closed.");
        lost_ = reason;
        for (auto const& [id, pending] : pending_)
            on_failed(id, reason);
    }
    if (channel_) co_await channel_->close();
    co_await tasks_.all_ended();
}

} // namespace parley::mcp

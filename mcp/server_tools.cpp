// The tools of a server: listing them page by page, keeping the list while it is fresh, and comparing every definition
// with what it was when it was first seen.
#include <boost/json/array.hpp>

#include <algorithm>
#include <set>
#include <utility>

#include "mcp/server.hpp"

namespace parley::mcp {
namespace {

namespace json = boost::json;

using core::Errc;
using core::make_error;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kOldListTime{5}; // until a list that could not be renewed is asked for again
constexpr int kPagesMax = 1'000;
constexpr std::size_t kToolsMax = 4'096;

// A server's own word on how long its list is good for (2026-07-28); ours where it says nothing.
std::chrono::milliseconds ttl_of(json::object const& result, std::chrono::milliseconds ours) {
    auto const* const ttl = result.if_contains("ttlMs");
    if (!ttl || !ttl->is_int64()) return ours;
    return std::min(std::chrono::milliseconds(std::max<std::int64_t>(ttl->get_int64(), 0)), ours);
}

} // namespace

core::Task<std::shared_ptr<ToolList const>> Server::tools(core::Context const& context, Caller const& caller) {
    Guest const guest(*this);
    auto& seat = seat_of(caller);
    ++seat.users;
    auto list = co_await this->list(context, caller, seat);
    --seat.users;
    if (!list) {
        auto error = list.error();
        error.message = (*parts_.secrets)(std::move(error.message));
        error.detail = (*parts_.secrets)(std::move(error.detail));
        co_return error;
    }
    co_return std::move(*list);
}

// One listing at a time for a seat; whoever comes meanwhile waits for its outcome, also when it fails. A list that was
// had before stays while a newer one cannot be had: its tools are known, and a call of one says what is wrong.
core::Task<std::shared_ptr<ToolList const>> Server::list(core::Context const& context, Caller const& caller,
                                                         Seat& seat) {
    if (!seat.listing) {
        auto const fresh =
            seat.list && seat.session && !seat.session->is_lost() && steady_clock::now() < seat.list_until;
        if (fresh) co_return seat.list;
        auto session = co_await this->session(context, caller, seat);
        if (!session) {
            auto const code = session.error().code;
            bool const is_ours = code == Errc::kCancelled || code == Errc::kDeadlineExceeded;
            if (seat.list && !is_ours) co_return seat.list;
            co_return session.error();
        }
        auto const now = steady_clock::now();
        if (!seat.listing && now < seat.list_next_try) {
            if (seat.list) co_return seat.list;
            if (!seat.listed) co_return tried_again(seat.listed.error().message, seat.list_next_try);
        }
        if (!seat.listing) {
            seat.listing = true;
            seat.list_begun = now;
            tasks_.spawn(renew(seat, std::move(*session), caller));
        }
    }
    auto const listings = seat.listings;
    auto const until = seat.list_failures > 0 ? seat.list_begun + kPatience : core::SteadyTime::max();
    auto const end = std::min(until, context.deadline);
    while (seat.listings == listings && !context.cancellation.cancelled() && steady_clock::now() < end)
        co_await seat.changed.wait(context, end);
    if (context.cancellation.cancelled()) co_return make_error(Errc::kCancelled, "The client went away.");
    if (seat.listings != listings) co_return seat.listed;
    if (steady_clock::now() >= context.deadline)
        co_return make_error(Errc::kDeadlineExceeded, "The run took longer than this agent may take.");
    if (seat.list) co_return seat.list;
    auto const reason = seat.listed ? std::string("It could not list its tools.") : seat.listed.error().message;
    co_return make_error(Errc::kUpstreamUnavailable, reason + " It is being asked again.");
}

// Belongs to the server and not to whoever came first: others wait for it too, and may leave.
core::Awaitable<void> Server::renew(Seat& seat, std::shared_ptr<Session> session, Caller caller) {
    core::Context const context{life_, steady_clock::now() + std::max(spec_->list_timeout, spec_->call_timeout)};
    for (auto attempt = 0;; ++attempt) {
        seat.list_until = steady_clock::now() + spec_->tools_ttl; // a change that is told from now on counts
        auto listed = co_await read_list(context, caller, seat, *session);
        if (listed) {
            if (seat.session == session) prove(seat);
            if (seat.session != session) seat.list_until = {};
            seat.list = checked(seat, std::move(*listed));
            seat.list_failures = 0;
            seat.listed = seat.list;
            break;
        }
        seat.list_until = {};
        auto error = listed.error();
        auto const forgotten = co_await is_forgotten(context, caller, seat, session, error.upstream_status);
        if (forgotten && seat.session == session) let_end(seat);
        auto const unheard = is_unheard(error, *session);
        if (unheard) leave(seat, session, error);
        auto const again = attempt == 0 && (forgotten || unheard || session->is_lost());
        if (again) {
            auto next = co_await this->session(context, caller, seat);
            if (next) {
                session = std::move(*next);
                continue;
            }
            error = next.error();
        }
        if (error.code == Errc::kUpstreamTimeout) tasks_.spawn(question(seat.shared_from_this(), caller));
        not_listed(seat, std::move(error));
        break;
    }
    seat.listing = false;
    ++seat.listings;
    seat.changed.notify_all();
}

void Server::not_listed(Seat& seat, core::Error error) {
    if (error.code == Errc::kCancelled) error = make_error(Errc::kUpstreamUnavailable, "The server is being closed.");
    if (error.code == Errc::kDeadlineExceeded)
        error = make_error(Errc::kUpstreamTimeout, "It did not come to the end of its list of tools in time.");
    ++seat.list_failures;
    auto const now = steady_clock::now();
    if (seat.list) {
        seat.list_until = now + kOldListTime;
        seat.listed = seat.list;
        return;
    }
    seat.list_next_try = now + pause_after(seat.list_failures);
    seat.listed = std::move(error);
}

core::Task<std::vector<ListedTool>> Server::read_list(core::Context const& context, Caller const& caller, Seat& seat,
                                                      Session& session) {
    std::vector<ListedTool> out;
    std::set<std::string, std::less<>> cursors;
    refused_tools_.clear();
    Request request{"tools/list"};
    request.idle_timeout = std::min(spec_->list_timeout, spec_->start_timeout);
    request.timeout = request.idle_timeout;
    for (auto page = 0; page < kPagesMax; ++page) {
        auto const reply = co_await session.request(context, caller, request);
        if (!reply) co_return reply.error();
        if (reply->error) {
            if (reply->error->code == kMethodNotFound && !session.offers("tools")) break; // a server of resources only
            auto error = make_error(Errc::kUpstreamRejected,
                                    "It refused to list its tools: " + plain_text(reply->error->message));
            error.upstream_status = reply->http_status;
            co_return error;
        }
        seat.list_until = std::min(seat.list_until, steady_clock::now() + ttl_of(reply->result, spec_->tools_ttl));
        auto const* const tools = reply->result.if_contains("tools");
        if (tools && tools->is_array()) {
            for (auto const& definition : tools->get_array()) {
                auto const* const object = definition.if_object();
                if (!object || out.size() >= kToolsMax) continue;
                auto tool = read_tool(*object, session.is_modern());
                if (tool) {
                    out.push_back(std::move(*tool));
                } else {
                    refused_tools_.push_back(plain_text(text_in(*object, "name"), 128) + ": " + tool.error().message);
                }
            }
        }
        auto const* const next = reply->result.if_contains("nextCursor");
        if (!next || !next->is_string()) break;
        auto const [at, is_new] = cursors.emplace(next->get_string());
        if (!is_new) break; // it goes in circles
        request.params["cursor"] = *at;
    }
    co_return out;
}

std::shared_ptr<ToolList const> Server::checked(Seat& seat, std::vector<ListedTool> listed) {
    auto list = std::make_shared<ToolList>();
    changed_tools_.clear();
    seat.param_headers.clear();
    std::ranges::sort(listed, {}, [](ListedTool const& one) -> std::string const& { return one.tool.name; });
    auto const same = [](ListedTool const& a, ListedTool const& b) { return a.tool.name == b.tool.name; };
    listed.erase(std::ranges::unique(listed, same).begin(), listed.end());
    for (auto& one : listed) {
        if (spec_->pins != PinPolicy::kOff && pins_.check(pin_identity_, one.tool) == Pins::Verdict::kChanged) {
            changed_tools_.push_back(one.tool.name);
            auto const blocked = spec_->pins == PinPolicy::kBlock;
            parts_.loop.log()
                .warn("mcp_tool_changed")
                .add("server", spec_->label)
                .add("tool", plain_text(one.tool.name, 128))
                .add("action", blocked ? "blocked: parley mcp approve accepts it" : "offered")
                .add("sha256", one.tool.sha256);
            if (blocked) continue;
            pins_.accept(pin_identity_, one.tool); // told once
        }
        seat.param_headers[one.tool.name] = std::move(one.param_headers);
        list->tools.push_back(std::move(one.tool));
    }
    for (auto const& refused : refused_tools_)
        parts_.loop.log().warn("mcp_tool_refused").add("server", spec_->label).add("reason", refused);
    pins_.save();
    if (!pins_.problem().empty()) parts_.loop.log().warn("mcp_pins").add("reason", pins_.problem());
    // The same list as before stays the same object: whatever was built from it stays good.
    auto const unchanged =
        seat.list && std::ranges::equal(seat.list->tools, list->tools, {}, &Tool::sha256, &Tool::sha256);
    if (unchanged) return seat.list;
    return list;
}

core::Task<std::vector<ListedTool>> Server::list_anew(core::Context const& context, Caller const& caller, Seat& seat) {
    auto session = co_await this->session(context, caller, seat);
    if (!session) co_return session.error();
    auto const& current = *session;
    auto listed = co_await read_list(context, caller, seat, *current);
    co_return listed;
}

core::Task<std::size_t> Server::approve(core::Context const& context, Caller const& caller, std::string tool) {
    Guest const guest(*this);
    auto& seat = seat_of(caller);
    ++seat.users;
    auto const listed = co_await list_anew(context, caller, seat);
    --seat.users;
    if (!listed) co_return listed.error();
    std::size_t approved = 0;
    for (auto const& one : *listed) {
        if (!tool.empty() && one.tool.name != tool) continue;
        pins_.approve(pin_identity_, one.tool);
        ++approved;
    }
    pins_.save();
    seat.list_until = {};
    if (approved == 0) co_return make_error(Errc::kInvalidValue, "The server has no tool '" + tool + "'.");
    co_return approved;
}

} // namespace parley::mcp

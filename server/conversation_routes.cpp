// The conversations of whoever asks: list, read with their branches, fork, erase. Member functions of the loop's
// Gateway.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>

#include "core/base64.hpp"
#include "core/json.hpp"
#include "core/json_tree.hpp"
#include "net/form.hpp"
#include "net/url.hpp"
#include "server/conversation_pages.hpp"
#include "server/gateway.hpp"
#include "server/pages.hpp"

namespace parley::server {
namespace {

namespace json = boost::json;
using core::Errc;

constexpr std::int64_t kListedMax = 1000;
constexpr std::int64_t kListedByDefault = 100;
constexpr std::size_t kForkDepthMax = 8;
constexpr std::chrono::seconds kPageTime{10};

net::Response as_json(json::object const& object, int status = 200) {
    return {status, json::serialize(object)};
}

core::Error not_found(std::string_view session) {
    return core::make_error(Errc::kConversationNotFound, "There is no conversation '" + std::string(session) + "'.");
}

core::Result<std::int64_t> number(std::string_view query, std::string_view name, std::int64_t otherwise,
                                  std::int64_t max) {
    auto const text = net::form_value(query, name);
    if (!text) return text.error();
    if (!*text) return otherwise;
    std::int64_t value = 0;
    auto const* const end = (*text)->data() + (*text)->size();
    auto const [at, error] = std::from_chars((*text)->data(), end, value);
    if (error == std::errc{} && at == end && value >= 1 && value <= max) return value;
    return core::make_error(
        Errc::kInvalidValue,
        "Invalid '" + std::string(name) + "': expected a whole number from 1 to " + std::to_string(max) + ".",
        std::string(name));
}

// `next_before` of a page: when its last conversation changed, and which one it was.
std::string place_name(memory::ConversationInfo const& last) {
    return std::to_string(last.updated_ms) + "." + core::base64url(last.session);
}

core::Result<memory::ListPlace> list_place(std::string_view query) {
    auto const text = net::form_value(query, "before");
    if (!text) return text.error();
    memory::ListPlace place;
    if (!*text) return place;
    auto const* const end = (*text)->data() + (*text)->size();
    auto const [at, error] = std::from_chars((*text)->data(), end, place.updated_ms);
    auto session = at != end && *at == '.' ? core::from_base64url({at + 1, end}) : std::nullopt;
    if (error != std::errc{} || !session)
        return core::make_error(Errc::kInvalidValue, "Invalid 'before': expected next_before of the page before.",
                                "before");
    place.session = std::move(*session);
    return place;
}

struct Fork {
    std::string session;
    std::optional<memory::TurnId> turn; // nullopt: the one that came last
};

core::Result<Fork> parse_fork(std::string_view body) {
    auto const sound = core::check_json(body, kForkDepthMax);
    if (!sound) return sound.error();
    auto const value = core::json_tree(body);
    auto const* const object = value ? value->if_object() : nullptr;
    if (object == nullptr) return core::make_error(Errc::kInvalidJson, "The request body must be a JSON object.");
    Fork fork;
    auto const* const session = object->if_contains("session_id");
    if (session == nullptr)
        return core::make_error(Errc::kMissingParameter, "Missing required parameter: 'session_id'.", "session_id");
    if (session->is_string()) fork.session = std::string(session->get_string());
    if (auto const checked = check_session(fork.session, "session_id"); !checked) return checked.error();
    auto const* const turn = object->if_contains("turn_id");
    if (turn == nullptr || turn->is_null()) return fork;
    if (turn->is_string()) fork.turn = turn_named(std::string_view(turn->get_string()));
    if (!fork.turn)
        return core::make_error(Errc::kInvalidValue, "Invalid 'turn_id': expected the id of a turn.", "turn_id");
    return fork;
}

// From the first turn to `last`; empty when it is not there.
std::vector<memory::StoredTurn> path_to(std::vector<memory::StoredTurn> const& tree, memory::TurnId const& last) {
    std::vector<memory::StoredTurn> path;
    auto wanted = last;
    for (auto turn = tree.rbegin(); turn != tree.rend(); ++turn) { // parents stand before their children
        if (turn->id != wanted) continue;
        path.push_back(*turn);
        wanted = turn->parent;
    }
    if (wanted != memory::kRoot) path.clear();
    std::ranges::reverse(path);
    return path;
}

} // namespace

core::Awaitable<void> Gateway::conversation_page(net::Request& request, net::Exchange& exchange, RequestState& state) {
    auto const match = match_route(request.head.method, request.head.path);
    core::Context const context{exchange.cancellation(), std::chrono::steady_clock::now() + kPageTime,
                                std::string(state.request_id)};
    auto first = net::decode_segment(match.parameter);
    auto second = net::decode_segment(match.second);
    if (!first || !second)
        co_return fail(exchange, state, core::make_error(Errc::kUnknownUrl, "This URL has a broken escape."));
    auto const route = match.route->id;
    bool const by_agent = route == RouteId::kAgentConversation || route == RouteId::kAgentConversationDelete;
    if (by_agent && visible_agent(*catalogue_, *first, state.key.get()) == nullptr)
        co_return fail(exchange, state, agents::model_not_found(*first));
    auto owner = owner_of(state);
    auto const user = net::form_value(request.head.query, "user_id"); // the original names the user so
    if (user && *user && state.principal == kAnonymous && shared_.forwarding.trusts_everybody)
        owner = user_principal(**user);
    auto response = co_await conversation_answer(context, request, match.route->id, std::move(*first),
                                                 std::move(*second), std::move(owner));
    if (!response) co_return fail(exchange, state, response.error());
    answer(exchange, state, std::move(*response));
}

core::Task<net::Response> Gateway::conversation_answer(core::Context const& context, net::Request const& request,
                                                       RouteId route, std::string first, std::string second,
                                                       std::string principal) {
    auto const& query = request.head.query;
    bool const by_agent = route == RouteId::kAgentConversation || route == RouteId::kAgentConversationDelete;
    memory::ConversationKey key{"", std::move(principal), by_agent ? std::move(second) : std::move(first)};
    switch (route) {
        case RouteId::kConversations: {
            auto const limit = number(query, "limit", kListedByDefault, kListedMax);
            if (!limit) co_return limit.error();
            auto const after = list_place(query);
            if (!after) co_return after.error();
            auto const all = co_await conversations_.list(context, key.tenant, key.principal, *after, *limit + 1);
            if (!all) co_return all.error();
            json::array data;
            for (auto const& one : *all)
                if (std::ssize(data) < *limit) data.push_back(info_object(one));
            bool const has_more = std::ssize(*all) > *limit;
            json::object page{{"object", "list"}, {"data", std::move(data)}, {"has_more", has_more}};
            if (has_more) page["next_before"] = place_name((*all)[static_cast<std::size_t>(*limit) - 1]);
            co_return as_json(page);
        }
        case RouteId::kConversationsDelete: {
            auto const count = co_await conversations_.erase_all(context, key.tenant, key.principal);
            if (!count) co_return count.error();
            if (shared_.idempotency) shared_.idempotency->forget(key.principal, "");
            co_return as_json({{"deleted", *count}});
        }
        case RouteId::kConversationDelete:
        case RouteId::kAgentConversationDelete: {
            auto const erased = co_await conversations_.erase(context, key);
            if (!erased) co_return erased.error();
            if (shared_.idempotency) shared_.idempotency->forget(key.principal, key.session);
            if (!*erased) co_return not_found(key.session);
            co_return as_json({{"session_id", key.session}, {"deleted", true}});
        }
        case RouteId::kConversationFork:
            co_return co_await fork_conversation(context, std::move(key), request.body);
        default:
            break;
    }
    auto const path = co_await conversations_.path(context, key);
    if (!path) co_return path.error();
    if (path->turns.empty()) co_return not_found(key.session);
    if (query.find("branches=true") == std::string_view::npos) co_return as_json(path_object(key.session, path->turns));
    auto const tree = co_await conversations_.tree(context, key);
    if (!tree) co_return tree.error();
    co_return as_json(tree_object(key.session, *tree, path->turns.back().id));
}

core::Task<net::Response> Gateway::fork_conversation(core::Context const& context, memory::ConversationKey key,
                                                     std::string_view body) {
    auto const fork = parse_fork(body);
    if (!fork) co_return fork.error();
    auto path = co_await conversations_.path(context, key);
    if (!path) co_return path.error();
    auto turns = std::move(path->turns);
    auto const expires = path->expires_ms; // what was to be deleted then is deleted then, in the copy as well
    if (fork->turn) {
        auto const tree = co_await conversations_.tree(context, key);
        if (!tree) co_return tree.error();
        turns = path_to(tree->turns, *fork->turn);
    }
    if (turns.empty()) co_return not_found(key.session);
    auto to = key;
    to.session = fork->session;
    auto const taken = co_await conversations_.path(context, to);
    if (!taken) co_return taken.error();
    if (!taken->turns.empty())
        co_return core::make_error(Errc::kConflict, "There is a conversation '" + to.session + "' already.",
                                   "session_id");
    auto const count = turns.size();
    auto const made = co_await conversations_.follow(context, to, std::move(turns), false, expires);
    if (!made) co_return made.error();
    co_return as_json({{"session_id", to.session}, {"turns", count}}, 201);
}

} // namespace parley::server

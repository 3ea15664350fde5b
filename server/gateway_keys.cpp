// Who may come in, what for, and how much: the part of the loop's Gateway that asks policy/.
#include <algorithm>
#include <string>
#include <utility>

#include "policy/key_book.hpp"
#include "server/gateway.hpp"
#include "server/wall_clock.hpp"

namespace parley::server {
namespace {

using core::Errc;

constexpr std::size_t kBytesPerToken = 4;           // of English; other scripts need fewer, and are settled later
constexpr std::int64_t kAnswerTokens = 1024;        // set aside where a request names no limit of its own
constexpr std::chrono::seconds kStoreRetryAfter{1}; // as long as the watch of the keys takes to see the store again

// As OpenAI writes it: 1s, 6m0s.
std::string in_words(std::int64_t ms) {
    auto const seconds = (ms + 999) / 1000;
    auto const minutes = seconds / 60;
    return (minutes != 0 ? std::to_string(minutes) + "m" : std::string()) + std::to_string(seconds % 60) + "s";
}

} // namespace

std::optional<core::Error> Gateway::check_key(net::RequestHead const& head, Scope scope, net::Ticket& ticket) const {
    if (!wants_keys()) {
        ticket.principal = kAnonymous;
        return std::nullopt;
    }
    auto const credentials = head.count("authorization") + head.count("x-api-key") + head.count("api-key");
    if (credentials > 1) {
        return core::make_error(Errc::kInvalidValue,
                                "More than one credential was sent. Send one header: Authorization: Bearer YOUR_KEY.");
    }
    auto const value = head.get("authorization");
    constexpr std::string_view kScheme = "bearer ";
    auto const bearer = value.size() > kScheme.size() && net::field_is(value.substr(0, kScheme.size()), kScheme);
    auto const key = bearer ? value.substr(kScheme.size()) : std::string_view{};
    if (auto principal = bearer ? shared_.keys.principal(key) : std::nullopt) {
        ticket.principal = std::move(*principal);
        return std::nullopt;
    }
    auto const* const record = stored_keys_.book->find(key, wall_clock_ms());
    if (!record && !stored_keys_.is_current && (bearer || may_have_unread_keys())) {
        auto error = core::make_error(Errc::kStoreUnavailable,
                                      "Keys cannot be looked up at the moment. Please try again shortly.");
        error.retry_after = kStoreRetryAfter;
        return error;
    }
    if (!record) {
        return core::make_error(Errc::kInvalidApiKey,
                                "No valid API key was given. Send it as Authorization: Bearer YOUR_KEY.");
    }
    ticket.principal = record->principal();
    if (record->may_use_route(scope_name(scope))) return std::nullopt;
    auto const why = record->routes.empty() ? "role " + std::string(policy::role_name(record->role))
                                            : std::string("limited to some routes");
    return core::make_error(Errc::kPermissionDenied,
                            "This key (" + why + ") is not for '" + std::string(scope_name(scope)) + "'.");
}

std::shared_ptr<policy::KeyRecord const> Gateway::stored_key(std::string_view principal) const {
    auto const* const record = stored_keys_.book->empty() ? nullptr : stored_keys_.book->of_principal(principal);
    if (!record) return nullptr;
    return {stored_keys_.book, record}; // keeps the whole book for as long as the request lasts
}

std::int64_t Gateway::tokens_in(std::size_t bytes) noexcept {
    return static_cast<std::int64_t>(bytes / kBytesPerToken) + 1;
}

core::Task<policy::Reservation> Gateway::reserve_run(agents::Agent const& agent, ChatRequest const& request,
                                                     core::Context const& context, RequestState& state) {
    auto bytes = agent.config.system_prompt.size();
    for (auto const& message : request.messages)
        bytes += message.json.size();
    chat::Usage estimate;
    estimate.prompt_tokens = tokens_in(bytes);
    estimate.completion_tokens = request.max_tokens.value_or(kAnswerTokens) * request.n;
    std::vector<PricedModel> models;
    for (auto const& candidate : agent.candidates)
        models.push_back({candidate.provider->name(), candidate.model_name, candidate.price});
    co_return co_await reserve(estimate, std::move(models), context, state);
}

core::Task<policy::Reservation> Gateway::reserve(chat::Usage estimate, std::vector<PricedModel> models,
                                                 core::Context const& context, RequestState& state) {
    auto const& key = *state.key;
    policy::Amount wanted{estimate.total_tokens(), 0};
    for (auto const& model : models) {
        if (key.limits.budget_cost != 0 && !model.price) {
            co_return core::make_error(Errc::kPermissionDenied,
                                       "This key has a budget in dollars, and the model '" + std::string(model.name) +
                                           "' has no price: the operator has to add it to 'prices' of provider '" +
                                           std::string(model.provider) + "'.");
        }
        if (model.price) wanted.cost = std::max(wanted.cost, agents::cost_of(*model.price, estimate));
    }
    policy::RateLimitView view;
    auto reserved =
        co_await limits_.reserve(context, key, wanted, std::string(state.request_id) + loop_.ids().make("-"), &view);
    if (view.limit_requests != 0 || view.limit_tokens != 0) state.rate_limits = view;
    co_return reserved;
}

// Nobody waits for it; what cannot be settled stays used as it was set aside.
core::Awaitable<void> Gateway::settle(policy::Reservation const& reservation, RequestState const& state,
                                      bool client_gone) {
    bool const is_told = state.usage && state.usage->total_tokens() > 0;
    bool const is_nothing = !state.model_asked || (!state.first_token && state.status != 200 && !client_gone);
    policy::Amount used{state.usage ? state.usage->total_tokens() : 0, state.cost};
    if (is_told ? state.is_usage_untold : !is_nothing) { // what nobody tells is not nothing
        used.tokens += reservation.reserved.tokens;
        used.cost += reservation.reserved.cost;
    }
    core::Cancellation never;
    core::Context const context{never, core::SteadyTime::max(), std::string(state.request_id)};
    auto const settled = co_await limits_.settle(context, reservation, used);
    if (settled) co_return;
    loop_.log()
        .warn("limits_not_settled")
        .add("request_id", state.request_id)
        .add("principal", state.principal)
        .add("reason", settled.error().message);
}

void Gateway::add_rate_limits(net::ResponseFields& headers, policy::RateLimitView const& view) {
    if (view.limit_requests != 0) {
        headers.emplace_back("x-ratelimit-limit-requests", std::to_string(view.limit_requests));
        headers.emplace_back("x-ratelimit-remaining-requests", std::to_string(view.remaining_requests));
        headers.emplace_back("x-ratelimit-reset-requests", in_words(view.resets_ms));
    }
    if (view.limit_tokens != 0) {
        headers.emplace_back("x-ratelimit-limit-tokens", std::to_string(view.limit_tokens));
        headers.emplace_back("x-ratelimit-remaining-tokens", std::to_string(view.remaining_tokens));
        headers.emplace_back("x-ratelimit-reset-tokens", in_words(view.resets_ms));
    }
}

} // namespace parley::server

#include "server/gateway_metrics.hpp"

#include <algorithm>

#include "server/routes.hpp"

namespace parley::server {
namespace {

constexpr core::MetricName kHttpRequests{"parley_http_requests_total", "Requests answered, by route and status.",
                                         core::MetricKind::kCounter};
constexpr core::MetricName kHttpSeconds{
    "parley_http_request_seconds", "From a request's head to the end of its answer.", core::MetricKind::kHistogram};
constexpr core::MetricName kAbandoned{"parley_http_abandoned_total",
                                      "Requests whose client left before the answer was whole.",
                                      core::MetricKind::kCounter};
constexpr core::MetricName kInFlight{"parley_chat_requests", "Chat requests now under way.", core::MetricKind::kGauge};
constexpr core::MetricName kFirstToken{"parley_first_token_seconds",
                                       "From a request's head to the first event of its answer.",
                                       core::MetricKind::kHistogram};
constexpr core::MetricName kStreams{"parley_streams_total", "Streamed answers, by how they ended.",
                                    core::MetricKind::kCounter};
constexpr core::MetricName kRequestTokens{"parley_tokens_total", "Tokens that providers reported, by agent and kind.",
                                          core::MetricKind::kCounter};
constexpr core::MetricName kFallbacks{"parley_fallbacks_total", "Model calls that a fallback took over, by agent.",
                                      core::MetricKind::kCounter};
constexpr core::MetricName kRetries{"parley_retries_total",
                                    "Model calls made again, after a pause (retry) or at another endpoint, by agent.",
                                    core::MetricKind::kCounter};
// Without the tools' names: those come from servers and models, and would make series without bound.
constexpr core::MetricName kToolCalls{"parley_tool_calls_total", "Calls of tools that agents ran, by outcome.",
                                      core::MetricKind::kCounter};
constexpr core::MetricName kToolSeconds{"parley_tool_call_seconds", "From a tool call's start to its result.",
                                        core::MetricKind::kHistogram};
constexpr core::MetricName kIdempotent{"parley_idempotent_requests_total",
                                       "Requests with an Idempotency-Key, by what became of them.",
                                       core::MetricKind::kCounter};
constexpr core::MetricName kSummaries{"parley_summaries_total", "Summaries of long conversations, by outcome.",
                                      core::MetricKind::kCounter};
constexpr core::MetricName kTasks{"parley_background_tasks_total",
                                  "Background tasks of clients, answered without a model.", core::MetricKind::kCounter};

} // namespace

GatewayMetrics::GatewayMetrics(core::MetricSet& set)
    : in_flight(set.counter(kInFlight)),
      first_token(set.histogram(kFirstToken)),
      streams_complete(set.counter(kStreams, {{"end", "complete"}})),
      streams_failed(set.counter(kStreams, {{"end", "error"}})),
      streams_abandoned(set.counter(kStreams, {{"end", "abandoned"}})),
      set_(set),
      abandoned_(set.counter(kAbandoned)),
      tool_calls_ok_(set.counter(kToolCalls, {{"outcome", "ok"}})),
      tool_calls_failed_(set.counter(kToolCalls, {{"outcome", "error"}})),
      tool_seconds_(set.histogram(kToolSeconds)),
      idempotent_new_(set.counter(kIdempotent, {{"outcome", "new"}})),
      idempotent_replayed_(set.counter(kIdempotent, {{"outcome", "replayed"}})),
      idempotent_in_progress_(set.counter(kIdempotent, {{"outcome", "in_progress"}})),
      idempotent_refused_(set.counter(kIdempotent, {{"outcome", "refused"}})),
      routes_(all_routes().size() + 1) {}

void GatewayMetrics::count_tool_call(bool is_error, std::int64_t duration_ms) {
    (is_error ? tool_calls_failed_ : tool_calls_ok_).add();
    tool_seconds_.observe_seconds(static_cast<double>(duration_ms) / 1000);
}

void GatewayMetrics::count_idempotent(IdempotencyStore::State state) {
    switch (state) {
        case IdempotencyStore::State::kNew:
            return idempotent_new_.add();
        case IdempotencyStore::State::kAnswered:
            return idempotent_replayed_.add();
        case IdempotencyStore::State::kInProgress:
            return idempotent_in_progress_.add();
        case IdempotencyStore::State::kOtherRequest:
        case IdempotencyStore::State::kNotKept:
            return idempotent_refused_.add();
    }
}

void GatewayMetrics::count_summary(bool is_written) {
    set_.counter(kSummaries, {{"outcome", is_written ? "written" : "failed"}}).add();
}

void GatewayMetrics::count_task() {
    set_.counter(kTasks).add();
}

void GatewayMetrics::count_attempt(std::string const& agent, std::string_view kind) {
    if (kind == "fallback") return set_.counter(kFallbacks, {{"agent", agent}}).add();
    set_.counter(kRetries, {{"agent", agent}, {"kind", std::string(kind)}}).add();
}

void GatewayMetrics::count(RequestState const& state, double seconds, bool client_gone) {
    auto const known = state.route < all_routes().size();
    auto& route = routes_[known ? state.route : all_routes().size()];
    auto const name = [&] { return std::string(known ? all_routes()[state.route].path : "none"); };
    auto& statuses = route.by_status;
    auto found =
        std::find_if(statuses.begin(), statuses.end(), [&](auto const& one) { return one.first == state.status; });
    if (found == statuses.end()) {
        auto& made = set_.counter(kHttpRequests, {{"route", name()}, {"status", std::to_string(state.status)}});
        found = statuses.insert(statuses.end(), {state.status, &made});
    }
    found->second->add();
    if (!route.seconds) route.seconds = &set_.histogram(kHttpSeconds, {{"route", name()}});
    route.seconds->observe_seconds(seconds);
    if (client_gone) abandoned_.add();
    if (!state.usage) return;
    auto& tokens = tokens_[state.agent];
    if (!tokens.prompt) {
        tokens.prompt = &set_.counter(kRequestTokens, {{"agent", state.agent}, {"kind", "prompt"}});
        tokens.completion = &set_.counter(kRequestTokens, {{"agent", state.agent}, {"kind", "completion"}});
    }
    tokens.prompt->add(state.usage->prompt_tokens);
    tokens.completion->add(state.usage->completion_tokens);
}

} // namespace parley::server

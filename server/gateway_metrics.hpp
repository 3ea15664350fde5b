// The counters of one loop's edge. Series are found once: looking one up takes a lock.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/metrics.hpp"
#include "server/idempotency.hpp"
#include "server/request_state.hpp"

namespace parley::server {

class GatewayMetrics {
public:
    explicit GatewayMetrics(core::MetricSet& set);

    /// A request has ended, however it ended.
    void count(RequestState const& state, double seconds, bool client_gone);

    /// A tool that an agent ran has ended.
    void count_tool_call(bool is_error, std::int64_t duration_ms);

    /// A request came with an Idempotency-Key.
    void count_idempotent(IdempotencyStore::State state);

    /// A summary of a conversation was written, or not.
    void count_summary(bool is_written);

    /// A background task of a client was answered without a model.
    void count_task();

    /// An attempt at a model call failed, and another one followed: endpoint, fallback or retry.
    void count_attempt(std::string const& agent, std::string_view kind);

    core::Counter& in_flight;
    core::Histogram& first_token;
    core::Counter& streams_complete;
    core::Counter& streams_failed;
    core::Counter& streams_abandoned;

private:
    struct Route {
        core::Histogram* seconds = nullptr;
        std::vector<std::pair<int, core::Counter*>> by_status = {};
    };
    struct Tokens {
        core::Counter* prompt = nullptr;
        core::Counter* completion = nullptr;
    };

    core::MetricSet& set_;
    core::Counter& abandoned_;
    core::Counter& tool_calls_ok_;
    core::Counter& tool_calls_failed_;
    core::Histogram& tool_seconds_;
    core::Counter& idempotent_new_;
    core::Counter& idempotent_replayed_;
    core::Counter& idempotent_in_progress_;
    core::Counter& idempotent_refused_;
    std::vector<Route> routes_;                 // as all_routes(), and one for what has no route
    std::map<std::string, Tokens> tokens_ = {}; // by agent
};

} // namespace parley::server

// What is known of a request so far: for its answer's headers, the log line and the counters. Plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "chat/usage.hpp"
#include "core/context.hpp"
#include "policy/key_record.hpp"
#include "policy/usage_limits.hpp"

namespace parley::server {

inline constexpr std::size_t kNoRoute = static_cast<std::size_t>(-1);

struct RequestState {
    // Of the request (net::Request), which outlives this.
    std::string_view request_id;
    std::string_view origin; // a browser page that may read the answer; empty = none
    std::string_view method;
    std::string_view path;
    std::string_view peer;
    std::string_view principal; // of the key
    std::string_view user_id;   // whom the request is for, where a front end asks; empty = the key's own

    std::size_t route = kNoRoute;                 // index into all_routes()
    std::shared_ptr<policy::KeyRecord const> key; // a stored key's record; null: a key of the environment, or nobody's
    std::string agent;
    std::string conversation; // its session, of a request that is remembered
    std::string_view task;    // what a client asks for itself, empty = a turn of its user; a literal
    std::string answered_by;
    std::int64_t cost = 0; // of the tokens, millionths of a US dollar, where the model has a price
    std::string error_code;
    std::string error_reason; // in our own words: safe to log
    std::string error_detail; // may quote a provider, and so a prompt: only when asked for
    core::SteadyTime started;
    std::optional<core::SteadyTime> first_token;
    std::optional<chat::Usage> usage;
    bool is_usage_untold = false;                // of the model call that came last: the others are in usage
    std::optional<chat::AgentUsage> agent_usage; // of a run with tools, once it has told
    std::int64_t tool_calls = 0;                 // that have ended, also in a run that failed later
    std::size_t attempts = 0;                    // at model calls, beyond one each, plus one; 0 = no model was asked
    bool model_asked = false;
    int status = 0;
    std::optional<policy::RateLimitView> rate_limits; // of a key that has some
    bool stream = false;
    bool replayed = false; // an answer that was kept for its Idempotency-Key
};

} // namespace parley::server

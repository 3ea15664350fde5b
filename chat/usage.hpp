// Token counts of a model call, and their sum over a run.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace parley::chat {

struct Usage {
    std::int64_t prompt_tokens = 0;
    std::int64_t completion_tokens = 0;
    std::int64_t cached_tokens = 0;      // part of prompt_tokens
    std::int64_t cache_write_tokens = 0; // part of prompt_tokens
    std::int64_t reasoning_tokens = 0;   // part of completion_tokens
    std::optional<double> cost_usd = {}; // only where the provider states it (OpenRouter)

    std::int64_t total_tokens() const noexcept { return prompt_tokens + completion_tokens; }

    Usage& operator+=(Usage const& other) noexcept {
        prompt_tokens += other.prompt_tokens;
        completion_tokens += other.completion_tokens;
        cached_tokens += other.cached_tokens;
        cache_write_tokens += other.cache_write_tokens;
        reasoning_tokens += other.reasoning_tokens;
        if (other.cost_usd) cost_usd = cost_usd.value_or(0.0) + *other.cost_usd;
        return *this;
    }

    bool operator==(Usage const&) const = default;
};

/// Why a run ended, for usage.agent.stop_reason.
enum class StopReason : std::uint8_t {
    kCompleted,
    kClientTools, // the client's own tools are asked for
    kMaxToolRounds,
    kMaxToolCalls,
    kTimeout,
    kMaxTotalTokens,
};

std::string_view stop_reason_name(StopReason reason) noexcept;

/// What the loop did besides the tokens it cost.
struct AgentUsage {
    std::int64_t llm_calls = 0;
    std::int64_t tool_rounds = 0;
    std::int64_t tool_calls_requested = 0; // by the model, the agent's tools only
    std::int64_t tool_calls_executed = 0;
    std::int64_t tool_calls_failed = 0;  // of the executed ones
    std::int64_t last_prompt_tokens = 0; // of the last model call: how full the context is
    StopReason stop_reason = StopReason::kCompleted;

    bool operator==(AgentUsage const&) const = default;
};

} // namespace parley::chat

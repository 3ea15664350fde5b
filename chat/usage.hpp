// Token counts of a model call, and their sum over a run.
#pragma once

#include <cstdint>
#include <optional>

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

} // namespace parley::chat

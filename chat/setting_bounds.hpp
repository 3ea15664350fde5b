// What the settings of a model call may say, whoever says it: a request or an agent's model_settings.
// Source: OpenAI's specification, CreateChatCompletionRequest.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string_view>

namespace parley::chat {

struct IntegerSetting {
    std::string_view name;
    std::int64_t min, max;
};

inline constexpr std::int64_t kTokensMax = std::numeric_limits<std::int32_t>::max();

inline constexpr std::array kIntegerSettings{
    IntegerSetting{"max_completion_tokens", 1, kTokensMax},
    IntegerSetting{"max_tokens", 1, kTokensMax},
    IntegerSetting{"n", 1, 128},
    IntegerSetting{"seed", std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()},
    IntegerSetting{"top_logprobs", 0, 20},
};

struct NumberBounds {
    double min, max;
};

inline constexpr NumberBounds kLogitBias{-100, 100}; // of each token
inline constexpr NumberBounds kPenalty{-2, 2};       // frequency_penalty, presence_penalty
inline constexpr NumberBounds kTemperature{0, 2};
inline constexpr NumberBounds kTopP{0, 1};

inline constexpr std::array<std::string_view, 7> kReasoningEfforts{"none", "minimal", "low", "medium",
                                                                   "high", "xhigh",   "max"};
inline constexpr std::array<std::string_view, 3> kVerbosities{"low", "medium", "high"};

} // namespace parley::chat

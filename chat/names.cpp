// The OpenAI spellings of the vocabulary's enumerations (CreateChatCompletionRequest and -Response of the OpenAI spec).
// Pure functions, no state: callable from any loop.
#include <string_view>

#include "chat/message.hpp"
#include "chat/run_event.hpp"
#include "chat/usage.hpp"

namespace parley::chat {

std::string_view role_name(Role role) noexcept {
    switch (role) {
        case Role::kSystem:
            return "system";
        case Role::kDeveloper:
            return "developer";
        case Role::kUser:
            return "user";
        case Role::kAssistant:
            return "assistant";
        case Role::kTool:
            return "tool";
        case Role::kFunction:
            return "function";
    }
    return "user";
}

std::string_view finish_reason_name(FinishReason reason) noexcept {
    switch (reason) {
        case FinishReason::kStop:
            return "stop";
        case FinishReason::kLength:
            return "length";
        case FinishReason::kToolCalls:
            return "tool_calls";
        case FinishReason::kContentFilter:
            return "content_filter";
    }
    return "stop";
}

FinishReason finish_reason_named(std::string_view name) noexcept {
    using enum FinishReason;
    for (auto const reason : {kLength, kToolCalls, kContentFilter})
        if (finish_reason_name(reason) == name) return reason;
    return kStop;
}

std::string_view stop_reason_name(StopReason reason) noexcept {
    switch (reason) {
        case StopReason::kCompleted:
            return "completed";
        case StopReason::kClientTools:
            return "client_tools";
        case StopReason::kMaxToolRounds:
            return "max_tool_rounds";
        case StopReason::kMaxToolCalls:
            return "max_tool_calls";
        case StopReason::kTimeout:
            return "timeout";
        case StopReason::kMaxTotalTokens:
            return "max_total_tokens";
    }
    return "completed";
}

} // namespace parley::chat

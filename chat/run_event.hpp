// What a model (and later a whole run) says while it answers, as a flat sequence of small events.
//
// Text travels as a *JSON string body*: the bytes between the quotes of a valid JSON string, escapes kept. It is
// never unescaped and escaped again on its way from provider to client. All views are valid until the reader's
// next co_await; whoever keeps an event copies it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "chat/usage.hpp"

namespace parley::chat {

enum class FinishReason : std::uint8_t { kStop, kLength, kToolCalls, kContentFilter };

std::string_view finish_reason_name(FinishReason reason) noexcept;
FinishReason finish_reason_named(std::string_view name) noexcept; // kStop for an unknown name

struct TextDelta {
    std::string_view body;          // JSON string body, not empty unless logprobs is set
    std::string_view logprobs = {}; // JSON of the chunk's `logprobs`, empty = none
    int choice = 0;
};

struct ReasoningDelta {
    std::string_view body; // JSON string body
    int choice = 0;
};

struct RefusalDelta {
    std::string_view body; // JSON string body
    int choice = 0;
};

// A piece of a tool call. The first piece of each index has id and name (both JSON string bodies), later ones only
// arguments. Indexes are contiguous from 0 within a choice: decoders see to that.
struct ToolCallDelta {
    int index = 0;
    std::string_view id = {};
    std::string_view name = {};
    std::string_view arguments = {}; // JSON string body: a piece of the arguments' text
    int choice = 0;
};

// Any other member of a delta or message that clients may want: annotations, images, audio, reasoning_details.
struct DeltaField {
    std::string_view name; // JSON string body
    std::string_view json; // valid JSON value
    int choice = 0;
};

struct ChoiceEnd {
    FinishReason reason = FinishReason::kStop;
    int choice = 0;
};

struct UsageReport {
    Usage usage;
    std::optional<AgentUsage> agent = {}; // of a run with tools: in the last report, whose usage is the sum
};

// Which model really answered (a provider may route or fall back by itself). JSON string bodies, may be empty.
struct ModelReport {
    std::string_view model;
    std::string_view system_fingerprint = {};
    std::string_view service_tier = {};
};

// What becomes of a tool that the agent itself runs. Unlike the deltas above, all text here is plain UTF-8 (or JSON
// text where it says so), not a JSON string body. Started and ended come in pairs, also before an error.
struct ToolStarted {
    std::string_view call_id;   // unique in the run
    std::string_view name;      // as the model knows it: label__tool, or a built-in's name
    std::string_view arguments; // JSON text as the model wrote it; may be malformed
};

struct ToolProgress {
    std::string_view call_id;
    double progress = 0;
    double total = 0; // 0 = not known
    std::string_view message = {};
};

// What a tool's result can be checked against. Plain UTF-8.
struct ToolSource {
    std::string title; // may be empty
    std::string url;   // http or https
    std::string text;  // what it says, as far as told; may be empty
};

struct ToolImage {
    std::string mime_type;
    std::string base64;
};

struct ToolEnded {
    std::string_view call_id;
    std::string_view name;
    std::string_view result; // what the model is told
    bool is_error = false;
    std::int64_t duration_ms = 0;
    std::span<ToolSource const> sources = {};
    std::span<ToolImage const> images = {};
};

using RunEvent = std::variant<TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta, DeltaField, ChoiceEnd,
                              UsageReport, ModelReport, ToolStarted, ToolProgress, ToolEnded>;

} // namespace parley::chat

// What the streamed and the whole answer of chat completions have in common. Used by chat_writer*.cpp only; no state.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "chat/run_event.hpp"
#include "server/chat_writer.hpp"

namespace parley::server {

inline constexpr int kChoicesMax = 128; // the API's bound of `n`; openai-node refuses a higher index

/// {"id":…,"object":…,"created":…,"model":… : left open.
void append_reply_head(std::string& out, ChatReplyHead const& head, std::string_view object);

/// ,"system_fingerprint":…,"service_tier":… : each only when stated. Arguments are JSON string bodies.
void append_model_fields(std::string& out, std::string_view system_fingerprint, std::string_view service_tier);

/// The usage object, details always included; with `agent` where a run with tools reported what it did.
void append_usage(std::string& out, chat::UsageReport const& report);

/// The longest start of the JSON string body `body` of at most `bytes_max` (> 0) that cuts no escape, surrogate pair or
/// UTF-8 sequence; never 0 for a body that is not empty.
std::size_t piece_size(std::string_view body, std::size_t bytes_max) noexcept;

/// True for the members of a message that the writers print themselves: a DeltaField of that name would be the same
/// key twice. `name` is a JSON string body.
bool is_own_field(std::string_view name) noexcept;

} // namespace parley::server

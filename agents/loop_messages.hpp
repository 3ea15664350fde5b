// The messages that the tool loop itself adds to a conversation, as JSON in OpenAI's form: what dialects translate.
// Plain data and pure functions.
#pragma once

#include <boost/json/object.hpp>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/message.hpp"
#include "mcp/tool_host.hpp"

namespace parley::agents {

/// A message that owns its text. view() points into it.
struct LoopMessage {
    chat::Role role = chat::Role::kAssistant;
    std::string json;
    std::size_t content_at = 0; // of the value of `content` in json
    std::size_t content_bytes = 0;

    chat::Message view() const noexcept;
};

/// A call as it goes into an assistant message; all JSON string bodies.
struct MessageCall {
    std::string_view id;
    std::string_view name;
    std::string_view arguments;
};

/// What a model said in one round. Bodies are JSON string bodies. `reasoning_details` are JSON arrays as they came,
/// piece by piece; OpenRouter wants them back, and with them there is no need for `reasoning`.
/// `reasoning_items` likewise are what the Responses API wants back.
LoopMessage assistant_message(std::string_view text_body, std::span<MessageCall const> calls,
                              std::string_view reasoning_body, std::span<std::string const> reasoning_details,
                              std::span<std::string const> reasoning_items);

/// A message of nothing but a content, which is JSON: a string, or an array of parts.
LoopMessage plain_message(chat::Role role, std::string_view content_json);

/// `text` is plain UTF-8, `id_body` a JSON string body.
LoopMessage tool_message(std::string_view id_body, std::string_view text);

/// A user message that shows what tools gave besides text. `images` belong to tools of those names.
LoopMessage images_message(std::span<std::pair<std::string, mcp::Image> const> images);

/// Any message that is one, in this form. nullopt: it has no role that is known.
std::optional<LoopMessage> message_of(boost::json::object const& message);

/// The ids of the calls in an assistant message, as text; empty for any other message.
std::vector<std::string> tool_call_ids(std::string_view message_json);

/// The pieces of `reasoning_details` of a stream as one JSON array: neighbours of the same type and index whose text
/// was cut in pieces are joined, all else stays as it is.
std::string joined_details(std::span<std::string const> pieces);

} // namespace parley::agents

// A chat history in the form of Ollama's /api/chat: flat text, bare base64 images, tool arguments as objects.
// Pure; runs on the loop of the request. Source: github.com/ollama/ollama docs/api.md, api/types.go.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "chat/message.hpp"
#include "core/result.hpp"

namespace parley::providers {

/// Appends the messages as elements of a JSON array, a comma before each unless `out` ends with `[`.
///
/// Parts of a message are joined with a line feed; images must be data: URLs (Ollama fetches nothing).
/// A tool call whose arguments are not a JSON object (models do write such) is sent as {"_raw": "<their text>"}, so
/// that the model sees what it said instead of the whole request failing. Errors: kUnsupportedValue or kInvalidValue
/// with `param`, e.g. messages[3].content[0].image_url.url.
core::Result<> append_ollama_messages(std::string& out, std::span<chat::Message const> messages);

} // namespace parley::providers

// A chat history as input items of the Responses API.
// Pure; runs on the loop of the request. Source: OpenAI API reference, POST /responses, `input`.
#pragma once

#include <span>
#include <string>

#include "chat/message.hpp"
#include "core/result.hpp"

namespace parley::providers {

/// Appends the items as elements of a JSON array, a comma before each unless `out` ends with `[`.
/// One message may become several items: an assistant's text, then one function_call for each of its tool calls.
/// Errors: kUnsupportedValue or kMissingParameter with `param`, e.g. messages[3].content[0].type.
core::Result<> append_responses_input(std::string& out, std::span<chat::Message const> messages);

} // namespace parley::providers

// Settings, tools and tool_choice of a chat request in the form of Ollama's /api/chat.
// Pure; runs on the loop of the request. Source: github.com/ollama/ollama docs/api.md, api/types.go.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "chat/turn.hpp"
#include "core/result.hpp"
#include "providers/json_text.hpp"
#include "providers/merged_settings.hpp"

namespace parley::providers {

/// Writes `options`, `think`, `format`, `keep_alive` and their like. What only steers sampling a little and Ollama does
/// not have is left out; what would change the meaning of the answer is refused.
/// Options that decide how a model is loaded (num_gpu, num_thread, ...) are the agent's to set, not the client's.
/// Errors: kUnsupportedValue with `param`.
core::Result<> write_ollama_settings(ObjectText& request, std::span<DefaultSetting const> defaults,
                                     std::span<chat::Setting const> settings);

/// Writes `tools`: the agent's, then the client's, as far as `tool_choice` lets the model use them. Ollama has no
/// tool_choice of its own: none leaves all out, a named function or allowed_tools leaves out the others, required
/// cannot be enforced and counts as auto. `agent_tools` and `client_tools` are JSON arrays or empty.
core::Result<> write_ollama_tools(ObjectText& request, std::string_view agent_tools, std::string_view client_tools,
                                  std::string_view tool_choice);

} // namespace parley::providers

// Settings, tools and tool_choice of a chat request in the form of the Responses API.
// Pure; runs on the loop of the request. Source: OpenAI API reference, POST /responses; Azure speaks the same.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "chat/turn.hpp"
#include "core/result.hpp"
#include "providers/json_text.hpp"
#include "providers/merged_settings.hpp"

namespace parley::providers {

/// Writes everything but model, instructions, input, tools and stream. What the API does not know and only steers
/// sampling or speed (seed, penalties, prediction) is left out, as are unknown fields, which Azure would answer with
/// 400; what would change the meaning of the answer (n > 1, stop, logit_bias, audio) is refused.
/// `keep_reasoning`: the encrypted form of it is asked for. Errors: kUnsupportedValue with `param`.
core::Result<> write_responses_settings(ObjectText& request, std::span<DefaultSetting const> defaults,
                                        std::span<chat::Setting const> settings, bool has_tools, bool keep_reasoning);

/// Whether a model of that name reasons, as far as OpenAI's names tell: others refuse to be asked for their reasoning.
bool is_reasoning_model(std::string_view name) noexcept;

/// Chat tools `[{type, function: {…}}]` as `{type, name, …},{…}`: the elements of the array only. `strict` is written
/// always, because its default is true here and false in chat. Errors: kUnsupportedValue with `param` tools[i].type.
core::Result<std::string> responses_tools(std::string_view chat_tools);

/// A chat tool_choice in the form of the Responses API. Errors: kInvalidJson.
core::Result<std::string> responses_tool_choice(std::string_view chat_choice);

} // namespace parley::providers

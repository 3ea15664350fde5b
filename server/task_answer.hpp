// What Parley itself answers to a client's background task, without a model. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "server/background_task.hpp"

namespace parley::server {

/// The content of an answer in the form that Open WebUI reads, from the chat that `prompt` (plain UTF-8) quotes, in
/// that chat's language. nullopt: only a model can do it.
std::optional<std::string> heuristic_task_answer(BackgroundTask task, std::string_view prompt);

/// The content of an answer that says nothing, in the same form; nullopt where there is no such form.
std::optional<std::string> empty_task_answer(BackgroundTask task);

} // namespace parley::server

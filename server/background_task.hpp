// Tells the requests that a client makes for itself, such as a title for a chat, from the turns of its user.
// Pure function, no state.
#pragma once

#include <cstdint>
#include <string_view>

#include "net/http_head.hpp"
#include "server/chat_request.hpp"

namespace parley::server {

/// What Open WebUI asks for itself (0.12.4). Its names: title_generation, tags_generation, follow_up_generation …
enum class BackgroundTask : std::uint8_t {
    kNone, // a turn of its user
    kTitle,
    kTags,
    kFollowUps,
    kQueries, // for a search, of the web or of documents
    kImagePrompt,
    kAutocomplete,
    kEmoji,
    kToolChoice, // which tools fit, asked in words
    kOther,
};

/// Open WebUI's header decides where it is sent; else the shape does, and the JSON that is asked for tells which one.
/// The prompt's first line alone does not: a user's turn with a file begins like a task.
BackgroundTask background_task(net::RequestHead const& head, ChatRequest const& request);

/// Open WebUI's name for it, or "other"; empty for a turn.
std::string_view task_name(BackgroundTask task) noexcept;

} // namespace parley::server

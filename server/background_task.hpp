// Tells the requests that a client makes for itself, such as a title for a chat, from the turns of its user.
// Pure function, no state.
#pragma once

#include "net/http_head.hpp"
#include "server/chat_request.hpp"

namespace parley::server {

/// True for Open WebUI's titles, tags, follow-ups and queries: no tool may run for them. Its header decides where it is
/// sent; else the shape does. The prompt's first line alone does not: a user's turn with a file begins like a task.
bool is_background_task(net::RequestHead const& head, ChatRequest const& request) noexcept;

} // namespace parley::server

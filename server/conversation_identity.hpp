// Which conversation a request belongs to, and what it says of itself besides its messages. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agents/conversation_turn.hpp"
#include "core/result.hpp"
#include "net/http_head.hpp"
#include "server/chat_request.hpp"

namespace parley::server {

inline constexpr std::size_t kSessionBytesMax = 256;

/// Where a session may be named in a request's head, the first match counts (PARLEY_SESSION_HEADERS). Lower case.
inline std::vector<std::string> default_session_headers() {
    return {"x-session-id", "x-openwebui-chat-id"};
}

/// An error unless `session` is a name: 1 to kSessionBytesMax bytes without control characters. `param`: where it was.
core::Result<> check_session(std::string_view session, std::string param);

/// First match: body `session_id`, the headers, body `conversation_id`, `metadata.session_id`; nullopt = the request
/// stands alone. Never `user`: that is who asks. Chats that Open WebUI calls temporary stand alone. The key's principal
/// is left to the caller. Errors: kInvalidValue for a name that is none.
core::Result<std::optional<agents::ConversationAsk>> conversation_ask(net::RequestHead const& head,
                                                                      ChatRequest const& request,
                                                                      std::vector<std::string> const& session_headers);

} // namespace parley::server

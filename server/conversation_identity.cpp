#include "server/conversation_identity.hpp"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <utility>

#include "server/idempotency.hpp"
#include "server/open_webui.hpp"

namespace parley::server {
namespace {

// Chats that Open WebUI itself does not keep.
constexpr std::array<std::string_view, 3> kTemporary{"local:", "temporary:", "channel:"};

std::string metadata_session(ChatRequest const& request) {
    auto const metadata = request.setting("metadata");
    if (metadata.find("session_id") == std::string_view::npos) return {};
    boost::system::error_code error;
    auto const value = boost::json::parse({metadata.data(), metadata.size()}, error);
    auto const* const object = error ? nullptr : value.if_object();
    auto const* const session = object != nullptr ? object->if_contains("session_id") : nullptr;
    if (session == nullptr || !session->is_string()) return {};
    return {session->get_string().data(), session->get_string().size()};
}

// Its name and where it was found.
std::pair<std::string, std::string> session_of(net::RequestHead const& head, ChatRequest const& request,
                                               std::vector<std::string> const& headers) {
    if (!request.session_id.empty()) return {request.session_id, "session_id"};
    for (auto const& name : headers)
        if (auto const value = head.get(name); !value.empty()) return {std::string(value), name};
    if (!request.conversation_id.empty()) return {request.conversation_id, "conversation_id"};
    return {metadata_session(request), "metadata.session_id"};
}

bool is_retry(net::RequestHead const& head) {
    auto const text = head.get("x-stainless-retry-count");
    int count = 0;
    std::from_chars(text.data(), text.data() + text.size(), count);
    return count > 0;
}

} // namespace

core::Result<> check_session(std::string_view session, std::string param) {
    auto const is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
    if (!session.empty() && session.size() <= kSessionBytesMax && std::ranges::none_of(session, is_control)) return {};
    auto message = "Invalid '" + param + "': the name of a conversation has 1 to " + std::to_string(kSessionBytesMax) +
                   " bytes and no control characters.";
    return core::make_error(core::Errc::kInvalidValue, std::move(message), std::move(param));
}

core::Result<std::optional<agents::ConversationAsk>> conversation_ask(net::RequestHead const& head,
                                                                      ChatRequest const& request,
                                                                      std::vector<std::string> const& session_headers) {
    auto [session, where] = session_of(head, request, session_headers);
    if (session.empty()) return std::optional<agents::ConversationAsk>();
    auto const checked = check_session(session, std::move(where));
    if (!checked) return checked.error();
    auto const is_prefix = [&](std::string_view prefix) { return session.starts_with(prefix); };
    if (is_open_webui(head) && std::ranges::any_of(kTemporary, is_prefix))
        return std::optional<agents::ConversationAsk>();
    agents::ConversationAsk ask;
    ask.key.session = std::move(session);
    ask.resends = is_open_webui(head);
    ask.is_retry = is_retry(head);
    if (auto const key = idempotency_key(head)) ask.idempotency_key = *key;
    if (ask.resends) {
        ask.question_id = head.get("x-openwebui-user-message-id");
        ask.parent_id = head.get("x-openwebui-user-message-parent-id");
        ask.answer_id = head.get("x-openwebui-message-id");
    }
    auto const now = std::chrono::system_clock::now().time_since_epoch();
    ask.now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
    return std::optional(std::move(ask));
}

} // namespace parley::server

// A chat request that was read, checked and let in: what its run needs, until the last byte of its answer is out.
// Plain data, owned by the request's coroutine. It lives as long as the stream does, so it is kept small.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "agents/catalogue.hpp"
#include "agents/conversation_turn.hpp"
#include "chat/turn.hpp"
#include "core/context.hpp"
#include "net/http_head.hpp"
#include "policy/usage_limits.hpp"
#include "server/admission.hpp"
#include "server/chat_request.hpp"
#include "server/chat_writer.hpp"
#include "server/idempotency.hpp"

namespace parley::server {

/// How one chat request is to be answered.
struct ChatReply {
    ChatReplyHead head;
    bool stream = false;
    bool without_tools = false;            // of the agent: a background task of the client
    std::unique_ptr<KeptAnswer> kept = {}; // null: the request has no Idempotency-Key
};

struct ChatJob {
    /// Takes a place of `admission`, counted in `under_way`.
    ChatJob(Admission& admission, core::Counter& under_way, core::Context of_run, net::RequestHead const& of_request,
            agents::Agent const& asked)
        : place(admission, under_way), context(std::move(of_run)), head(of_request), agent(asked) {}

    Admission::Place const place;
    core::Context const context;
    net::RequestHead const& head;
    agents::Agent const& agent;
    std::shared_ptr<agents::Catalogue const> catalogue; // the agent's, whatever is reloaded meanwhile
    std::unique_ptr<ChatRequest const> request;         // null once nothing reads it any more
    chat::Turn turn = {};                               // of the request
    std::unique_ptr<agents::ConversationAsk> ask;       // null: nothing is remembered
    std::optional<policy::Reservation> reservation;     // of a key with limits
    ChatReply reply;
};

} // namespace parley::server

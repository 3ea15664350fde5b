// What is written while the model is asked. Internal to ConversationTurn.
#pragma once

#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <optional>
#include <vector>

#include "agents/conversation_turn.hpp"

namespace parley::agents {

/// It is carried out whatever becomes of the run.
struct ConversationTurn::Storing {
    Storing(ConversationTurn const& turn, core::Context const& run, core::Executor const& executor)
        : owner(&turn),
          store(turn.store_),
          key(turn.ask_.key),
          expires_ms(turn.expires_ms_),
          context{cancellation, run.deadline, run.request_id},
          wake(executor) {}

    ConversationTurn const* owner; // null: it is gone
    memory::ConversationStore& store;
    memory::ConversationKey key;
    std::optional<std::int64_t> expires_ms;
    core::Cancellation cancellation; // never
    core::Context context;
    boost::asio::basic_waitable_timer<std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>,
                                      core::Executor>
        wake; // cancelled when there is an outcome
    std::vector<memory::StoredTurn> turns;
    bool client_tells = false;
    bool resent = false;
    std::optional<core::Result<>> outcome;
};

} // namespace parley::agents

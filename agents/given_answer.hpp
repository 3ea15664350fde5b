// A stored answer as the events that a client was told, so that it can be told again.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "chat/run_event.hpp"
#include "memory/conversation_store.hpp"

namespace parley::agents {

/// Movable: the events' views stay valid as long as it lives.
struct GivenAnswer {
    std::vector<chat::RunEvent> events;
    std::deque<std::string> made = {}; // what they point into
};

/// Without what only passed by while it was made: thoughts, the progress and the duration of tools.
GivenAnswer given_answer(memory::StoredTurn const& answer);

} // namespace parley::agents

// What a model is shown of a conversation: the messages of the request, and those that the store has in their place.
// Put together by one request, on its loop; owns what it adds.
#pragma once

#include <deque>
#include <span>
#include <string>
#include <vector>

#include "agents/loop_messages.hpp"
#include "chat/message.hpp"
#include "memory/conversation_store.hpp"

namespace parley::agents {

class ModelHistory {
public:
    /// As the client sent it; its text outlives this.
    void add(chat::Message const& message) { messages_.push_back(message); }

    /// An earlier answer as the client sent it, without blocks that a person did not see as its text (thoughts, tool
    /// calls as markup).
    void add_earlier(chat::Message const& message);

    /// A turn of the store with all its rounds of tools. Thoughts are left out, unless the client's tools are answering
    /// it at this moment: some models want theirs back then.
    void add_stored(memory::StoredTurn const& turn, bool keep_reasoning);

    /// Stands for all that was said before.
    void add_summary(std::string_view text);

    /// Whoever says something else instead of giving the results that the last answer waits for leaves calls open,
    /// which no model accepts: says for each that it was not run.
    void close_calls();

    /// Valid as long as this.
    std::vector<chat::Message> const& messages() const noexcept { return messages_; }

private:
    void add_own(LoopMessage message);

    std::deque<LoopMessage> own_; // messages_ points into them
    std::vector<chat::Message> messages_;
    std::vector<std::string> open_calls_; // ids, of stored turns
};

/// The ids of calls in these turns that nobody has answered yet: the client is to run those tools.
std::vector<std::string> awaited_calls(std::span<memory::StoredTurn const> turns);

} // namespace parley::agents

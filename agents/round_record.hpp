// What a model says in one round, as far as the tool loop must know it: sorts the events into those that the client
// sees at once and those that are kept. One per run with tools, begun anew each round.
#pragma once

#include <deque>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agents/loop_messages.hpp"
#include "chat/run_event.hpp"

namespace parley::agents {

/// The names of the client's own tools.
using ClientToolNames = std::set<std::string, std::less<>>;

class RoundRecord {
public:
    struct Call {
        std::string id, name, arguments; // JSON string bodies
        int index = 0;                   // the model's
        int client_index = -1;           // as the client is told; -1: not the client's tool
    };

    explicit RoundRecord(ClientToolNames const& client_tools) : client_tools_(client_tools) {}

    /// With `tools_off` calls are passed over: the model was told to make none.
    void begin(bool tools_off);

    /// A second begin of the same round.
    void restart();

    /// Takes the events from `from` on: text, reasoning and the client's calls stay; the agent's calls, ends and usage
    /// are taken out. Usage goes to `usage`.
    void take(std::vector<chat::RunEvent>& events, std::size_t from, std::vector<chat::Usage>& usage);

    std::vector<Call> const& calls() const noexcept { return calls_; }
    std::size_t client_calls() const noexcept { return client_calls_; }
    chat::FinishReason reason() const noexcept { return reason_; }
    std::string const& text() const noexcept { return text_; } // JSON string body

    /// The assistant's message of this round with all its calls.
    LoopMessage message() const;

private:
    bool keep(chat::RunEvent& event, std::vector<chat::Usage>& usage);
    bool keep_call(chat::ToolCallDelta& delta);
    std::string unused_id(std::string_view id);

    ClientToolNames const& client_tools_;
    std::set<std::string, std::less<>> used_ids_; // bodies, of the whole run
    std::deque<std::string> ids_;                 // of calls told to the client: their events' views
    bool tools_off_ = false;
    bool first_round_ = true;
    bool model_told_ = false; // in an earlier round
    std::string text_, reasoning_;
    std::vector<std::string> details_, items_; // JSON arrays
    std::vector<Call> calls_;
    std::size_t client_calls_ = 0;
    chat::FinishReason reason_ = chat::FinishReason::kStop;
};

} // namespace parley::agents

// Puts the pieces of one choice's tool calls together, whatever a provider leaves out or repeats: the events that come
// out have indexes from 0 without gaps, and id and name on each call's first piece only.
// Owned by one decoder, single-threaded.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "chat/run_event.hpp"
#include "providers/kept_text.hpp"

namespace parley::providers {

/// OpenAI's SDKs refuse a higher index (openai-node: MAX_STREAM_TOOL_CALLS).
inline constexpr std::size_t kToolCallsMax = 128;

class ToolCallMerger {
public:
    /// One piece as it was sent; all texts are clean JSON string bodies.
    struct Piece {
        int index = -1; // -1 = not sent
        std::string_view id;
        std::string_view name;
        std::string_view arguments;
    };

    explicit ToolCallMerger(int choice) : choice_(choice) {}

    /// Appends at most one event, whose views point into `piece` or `kept`. `answer_id` makes ids where the provider
    /// sends none. false = more than kToolCallsMax calls.
    bool add(Piece const& piece, std::string_view answer_id, KeptText& kept, std::vector<chat::RunEvent>& events);

    /// Takes note of arguments of call `index` (ours) that were passed on without add().
    void passed_on(int index, std::string_view arguments);

    /// false = a call with arguments never got a name.
    bool finish() const;

    /// True once a call was passed on.
    bool any() const noexcept { return count_ > 0; }

private:
    /// Follows arguments (JSON text inside a JSON string body) to know when the value is complete.
    struct Progress {
        int depth = 0;
        bool in_string = false;
        bool escaped = false;
        bool begun = false;

        void add(std::string_view body);
        bool complete() const { return begun && depth == 0; }
    };

    struct Call {
        int sent_index = -1; // the provider's
        std::string sent_id; // the provider's
        std::string id;      // ours to the client, empty = not passed on yet
        std::string name;
        std::string waiting; // arguments that came before the name
        int index = -1;      // ours, -1 = not passed on yet
        Progress progress;
    };

    static bool begins_new(Call const& call, Piece const& piece);
    Call* find(Piece const& piece);
    std::string make_id(Call const& call, std::string_view answer_id) const;

    int choice_;
    int count_ = 0; // calls passed on
    std::vector<Call> calls_;
};

} // namespace parley::providers

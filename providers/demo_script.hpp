// What the built-in `demo` model says: pure and deterministic, so that everything can be tried and tested with no key
// and no network. The Provider that says it, word by word, is elsewhere. Callable from any loop.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/run_event.hpp"
#include "chat/turn.hpp"
#include "chat/usage.hpp"
#include "core/error.hpp"
#include "providers/provider.hpp"

namespace parley::providers {

/// One answer, plain UTF-8 text (not JSON), in the order in which they are to be said:
/// reasoning, text, then error if there is one, else calls and finish.
struct DemoAnswer {
    struct Call {
        std::string id;
        std::string name;
        std::string arguments; // text of a JSON object
    };

    std::string reasoning; // to be said piece by piece, as demo_piece cuts it
    std::string text;      // same
    std::vector<Call> calls;
    chat::FinishReason finish = chat::FinishReason::kStop;
    /// An estimate. The answer: one token a piece, and four bytes of a call a token. The prompt: four bytes a token,
    /// over system prompt, messages and tools.
    chat::Usage usage;
    std::chrono::milliseconds delay{0}; // before each piece: demo_delay_ms of model_settings, 15 ms unless set
    bool is_slow = false;               // asked for in the conversation: then it takes as long without streaming
    std::optional<core::Error> error;   // after the text; with no text and reasoning: instead of an answer
    int choices = 1;                    // `n` of the request: the same answer that many times; `usage` counts them all
};

/// The piece of `text` (not empty) to be said first: a word with the white space behind it, 64 bytes at most. Pieces
/// are cut as they are said: half a million of them held at once would be sixteen times the text.
std::string_view demo_piece(std::string_view text) noexcept;

/// Answers the turn: /commands in the last user message (see /help), results of tools, or anything else.
/// Honours max_tokens, stop, n, response_format and tool_choice.
DemoAnswer answer_as_demo(ModelSpec const& spec, chat::Turn const& turn);

} // namespace parley::providers

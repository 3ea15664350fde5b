// What a client was told of an answer, so that it can be stored; holds back the end until it is. One per remembered
// run.
#pragma once

#include <string>
#include <vector>

#include "agents/loop_messages.hpp"
#include "chat/run_event.hpp"

namespace parley::agents {

class AnswerRecord {
public:
    /// Reads the events from `from` on, and takes out the ends and the usage.
    void take(std::vector<chat::RunEvent>& events, std::size_t from);

    /// Appends what was taken out.
    void release(std::vector<chat::RunEvent>& events) const;

    // Of the first choice: others are not part of the conversation.
    std::string text() const;  // plain
    std::string calls() const; // of the client's tools, JSON array; empty = none
    std::string model() const; // that answered; plain, may be empty
    std::string_view finish() const noexcept { return chat::finish_reason_name(reason_); }
    chat::Usage const& usage() const noexcept { return usage_; }
    std::int64_t last_prompt_tokens() const noexcept { return last_prompt_tokens_; } // of the last model call

    /// The one message that all this makes; none for an answer that says nothing.
    std::vector<LoopMessage> messages() const;

private:
    struct Call {
        int index = 0;
        std::string id, name, arguments; // JSON string bodies
    };
    bool keep(chat::RunEvent const& event);
    void take_call(chat::ToolCallDelta const& delta);

    std::string text_, refusal_, reasoning_, model_; // JSON string bodies
    std::vector<std::string> details_;               // JSON arrays
    std::vector<Call> calls_;
    std::vector<chat::ChoiceEnd> ends_;
    std::vector<chat::UsageReport> reports_;
    chat::FinishReason reason_ = chat::FinishReason::kStop;
    chat::Usage usage_;
    std::int64_t last_prompt_tokens_ = 0;
};

} // namespace parley::agents

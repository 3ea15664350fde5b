// Turns the events of a run into the bytes of a /v1/chat/completions answer: a stream of chunks, or one object.
// One writer per answer, owned by its handler, used on its loop only. Order and shapes: OpenAI spec,
// CreateChatCompletionStreamResponse and CreateChatCompletionResponse.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/run_event.hpp"
#include "chat/usage.hpp"
#include "core/error.hpp"
#include "server/tool_display.hpp"

namespace parley::server {

/// What all chunks of one answer share.
struct ChatReplyHead {
    std::string id;
    std::int64_t created = 0;   // Unix time in seconds
    std::string model;          // as the client named it
    bool include_usage = false; // stream only: stream_options.include_usage
    int choices = 1;            // `n`
    ToolDisplay tools = ToolDisplay::kQuiet;
};

/// `text/event-stream`: `data:` lines only, none longer than 64 KiB unless a single value that cannot be split is.
class ChatStreamWriter {
public:
    explicit ChatStreamWriter(ChatReplyHead const& head);

    /// `now` paces what is shown of a tool's progress.
    ChatStreamWriter(ChatReplyHead const& head, ToolTrace::Clock now);

    /// Opens every choice (its role chunk) that is not open yet. write and finish do it by themselves.
    void start(std::string& out);

    /// Appends the chunks for `events`. Finish reasons and usage are held back until finish, because more rounds may
    /// follow: the last ones win, so a run sums the usage of its rounds before it reports it.
    void write(std::span<chat::RunEvent const> events, std::string& out);

    /// Appends one finish chunk per choice, the usage chunk if it was asked for and is known, and [DONE]. A tool that
    /// was shown and has not ended is shown as failed first.
    void finish(std::string& out);

    /// Appends the error as the stream's last line, and before it the end of every tool that was shown. No [DONE]
    /// follows: the caller closes the connection.
    void fail(core::Error const& error, std::string& out);

private:
    struct Choice {
        bool open = false;
        chat::FinishReason reason = chat::FinishReason::kStop;
    };

    void on(chat::TextDelta const& delta, std::string& out);
    void on(chat::ReasoningDelta const& delta, std::string& out);
    void on(chat::RefusalDelta const& delta, std::string& out);
    void on(chat::ToolCallDelta const& delta, std::string& out);
    void on(chat::DeltaField const& field, std::string& out);
    void on(chat::ChoiceEnd const& end, std::string& out);
    void on(chat::UsageReport const& report, std::string& out);
    void on(chat::ModelReport const& report, std::string& out);
    void on(chat::ToolStarted const& event, std::string& out);
    void on(chat::ToolProgress const& event, std::string& out);
    void on(chat::ToolEnded const& event, std::string& out);

    template <class Event>
    void write_agent_event(Event const& event, std::string& out);
    void write_reasoning_line(std::string_view line, std::string& out);
    void end_open_tools(std::string& out);

    bool open(int choice, std::string& out);
    void begin_chunk(int choice, std::string& out) const;
    void build_head(std::string_view fields);
    std::size_t piece_bytes_max() const noexcept;

    ChatReplyHead head_;
    std::string model_fields_; // ,"system_fingerprint":…,"service_tier":… once a provider has stated them
    std::string base_;         // data: {"id":…,"model":… : how every chunk begins
    std::string chunk_head_;   // base_ and ,"choices":[{"index":
    std::string chunk_tail_;   // ,"finish_reason":null}]… : how all but the last chunks end
    std::vector<Choice> choices_;
    std::optional<chat::UsageReport> usage_;
    ToolTrace tools_;
    bool reasoning_line_open_ = false; // reasoning was written and did not end in a line break
};

/// `application/json`: collects a whole answer. Bounded by the provider side, which limits an answer's bytes.
class ChatJsonWriter {
public:
    explicit ChatJsonWriter(ChatReplyHead head);

    void write(std::span<chat::RunEvent const> events);

    /// Appends the chat.completion object.
    void finish(std::string& out) const;

private:
    // Of a tool that the agent ran: JSON string bodies, cut to what is shown.
    struct ShownTool {
        std::string call_id, name, arguments, result;
        std::int64_t duration_ms = 0;
        bool is_error = true;
        bool ended = false;
    };
    struct ToolCall {
        std::string id, name, arguments; // JSON string bodies
    };
    struct Choice {
        std::string text, reasoning, refusal; // JSON string bodies
        std::vector<ToolCall> tool_calls;
        std::vector<std::pair<std::string, std::string>> fields; // name (body) and JSON value
        std::vector<std::string> logprobs;                       // JSON, one per piece that had any
        chat::FinishReason reason = chat::FinishReason::kStop;
    };

    void on(chat::TextDelta const& delta);
    void on(chat::ReasoningDelta const& delta);
    void on(chat::RefusalDelta const& delta);
    void on(chat::ToolCallDelta const& delta);
    void on(chat::DeltaField const& field);
    void on(chat::ChoiceEnd const& end);
    void on(chat::UsageReport const& report);
    void on(chat::ModelReport const& report);
    void on(chat::ToolStarted const& event);
    void on(chat::ToolProgress const&) {} // a whole answer comes when it is over
    void on(chat::ToolEnded const& event);

    Choice* choice(int index);
    static void append_choice(std::string& out, Choice const& choice, std::size_t index);
    void append_agent(std::string& out) const;

    ChatReplyHead head_;
    std::vector<Choice> choices_;
    std::vector<ShownTool> tools_; // kEvents only
    std::optional<chat::UsageReport> usage_;
    std::string system_fingerprint_, service_tier_; // JSON string bodies, empty = not stated
};

} // namespace parley::server

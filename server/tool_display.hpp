// How the tools that an agent runs are shown to the client of one answer: who gets which form, and the pieces of JSON
// and text that the writers of chat completions put into it. Pure functions; ToolTrace belongs to its writer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agents/config.hpp"
#include "chat/run_event.hpp"
#include "core/context.hpp"
#include "core/result.hpp"
#include "net/http_head.hpp"

namespace parley::server {

/// The header by which a request asks for a form: quiet, reasoning or events.
inline constexpr std::string_view kToolProgressHeader = "x-parley-tool-progress";

enum class ToolDisplay : std::uint8_t {
    kQuiet,     // nothing
    kReasoning, // lines in the reasoning text
    kEvents,    // an extra member `agent` on ordinary chunks
    kOpenWebui, // response.output_item.added lines, which Open WebUI alone understands
};

/// What this request gets. An agent that is `quiet` by configuration stays so; else the header decides, else the
/// configuration, and where that leaves it open (kAuto) Open WebUI's chats get their own form.
/// Errors: kInvalidValue for a header that says something else.
core::Result<ToolDisplay> tool_display(agents::ToolProgress configured, net::RequestHead const& head);

// Bytes of one text within a line, as a JSON string body. With what stands around them a line stays below 64 KiB.
inline constexpr std::size_t kShownEventBytesMax = 4 * 1024;          // arguments and results in `events`
inline constexpr std::size_t kOpenWebuiArgumentsBytesMax = 16 * 1024; // sent back as history: more than to look at
inline constexpr std::size_t kOpenWebuiResultBytesMax = 48 * 1024;
inline constexpr std::size_t kShownMessageBytesMax = 1024;          // of a progress note
inline constexpr std::size_t kShownReasonBytesMax = 256;            // the first line of a failure
inline constexpr std::size_t kShownImageBytesMax = 2 * 1024 * 1024; // base64; Open WebUI takes such a line whole
inline constexpr std::size_t kToolCallsShownMax = 1024; // remembered by one answer; the run's own limit is lower

/// Appends `text` (plain UTF-8) as a JSON string body of at most `bytes_max`; what is cut off is said at its end.
void append_cut_body(std::string& out, std::string_view text, std::size_t bytes_max);

/// The value of a chunk's `agent` member.
void append_agent_event(std::string& out, chat::ToolStarted const& event);
void append_agent_event(std::string& out, chat::ToolProgress const& event);
void append_agent_event(std::string& out, chat::ToolEnded const& event);

/// One whole SSE event, `data:` and empty line included. `arguments` as in ToolStarted.
void append_open_webui_call(std::string& out, std::string_view call_id, std::string_view name,
                            std::string_view arguments, bool completed);
void append_open_webui_output(std::string& out, chat::ToolEnded const& event);

/// A line for the reasoning text, plain UTF-8, no line break.
std::string reasoning_line(chat::ToolStarted const& event);
std::string reasoning_line(std::string_view name, chat::ToolProgress const& event);
std::string reasoning_line(chat::ToolEnded const& event);

/// The calls that were shown and not answered yet.
class ToolTrace {
public:
    using Clock = std::function<core::SteadyTime()>;

    struct Call {
        std::string call_id;
        std::string name;
        std::string arguments;
        core::SteadyTime progress_shown = {}; // epoch = never
    };

    explicit ToolTrace(Clock now) : now_(std::move(now)) {}

    /// False for what must not be shown: a call that is open already, or too many.
    bool start(chat::ToolStarted const& event);

    /// The call if its progress is to be shown now: at most once a second.
    Call const* progress(chat::ToolProgress const& event);

    /// Takes the call out. False when it was not shown.
    bool end(std::string_view call_id, Call& ended);

    bool empty() const noexcept { return open_.empty(); }
    Call const& oldest() const noexcept { return open_.front(); }

private:
    Clock now_;
    std::vector<Call> open_; // in the order of their starts
    std::size_t started_ = 0;
};

/// How a call ends that the run left open, so that no client waits for it or runs it itself.
chat::ToolEnded unanswered(ToolTrace::Call const& call) noexcept;

} // namespace parley::server

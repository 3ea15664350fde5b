// Which client sees the agent's tools in which form, and that form's text. Pure; no state but ToolTrace's.
#include "server/tool_display.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "core/json.hpp"
#include "server/chat_writer_parts.hpp"
#include "server/open_webui.hpp"

namespace parley::server {
namespace {

constexpr std::chrono::seconds kProgressInterval{1};
constexpr std::size_t kArgumentsDepthMax = 64;
// Open WebUI overwrites an item whose index is taken; behind everything it appends (0.12.4, seen live).
constexpr int kOpenWebuiIndex = 9999;

std::size_t utf8_start(std::string_view text, std::size_t at) noexcept {
    while (at > 0 && at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80)
        --at;
    return at;
}

void append_member(std::string& out, std::string_view name, std::string_view text, std::size_t bytes_max) {
    out.append(",\"").append(name).append("\":\"");
    append_cut_body(out, text, bytes_max);
    out += '"';
}

void append_number(std::string& out, std::string_view name, double value) {
    if (std::isfinite(value)) fmt::format_to(std::back_inserter(out), ",\"{}\":{}", name, value);
}

void begin_agent_event(std::string& out, std::string_view kind, std::string_view call_id) {
    fmt::format_to(std::back_inserter(out), R"({{"type":"tool_call.{}","call_id":)", kind);
    core::append_json_string(out, call_id);
}

// Open WebUI sends it back as a tool call of the history, where providers refuse what is not a JSON object.
std::string open_webui_arguments(std::string_view arguments) {
    auto const start = arguments.find_first_not_of(" \t\r\n");
    if (start == arguments.npos) return "{}";
    std::string body;
    core::append_json_body(body, arguments);
    auto const sound = arguments[start] == '{' && core::check_json(arguments, kArgumentsDepthMax);
    if (sound && body.size() <= kOpenWebuiArgumentsBytesMax) return body;
    std::string object = R"({"_as_written":")";
    append_cut_body(object, arguments, kShownEventBytesMax);
    object += "\"}";
    body.clear();
    core::append_json_body(body, object);
    return body;
}

std::string duration(std::int64_t milliseconds) {
    if (milliseconds < 1000) return fmt::format("{} ms", milliseconds);
    return fmt::format("{:.1f} s", static_cast<double>(milliseconds) / 1000);
}

std::string_view first_line(std::string_view text) noexcept {
    auto const begin = text.find_first_not_of(" \t\r\n");
    if (begin == text.npos) return {};
    text.remove_prefix(begin);
    text = text.substr(0, text.find_first_of("\r\n"));
    if (text.size() > kShownReasonBytesMax) text = text.substr(0, utf8_start(text, kShownReasonBytesMax));
    return text;
}

} // namespace

core::Result<ToolDisplay> tool_display(agents::ToolProgress configured, net::RequestHead const& head) {
    auto const asked = head.get(kToolProgressHeader);
    if (!asked.empty() && asked != "quiet" && asked != "reasoning" && asked != "events") {
        return core::make_error(
            core::Errc::kInvalidValue,
            fmt::format("Invalid header {}: expected quiet, reasoning or events.", kToolProgressHeader),
            std::string(kToolProgressHeader));
    }
    if (configured == agents::ToolProgress::kQuiet || asked == "quiet") return ToolDisplay::kQuiet;
    if (asked == "reasoning") return ToolDisplay::kReasoning;
    if (asked == "events") return ToolDisplay::kEvents;
    switch (configured) {
        case agents::ToolProgress::kReasoning:
            return ToolDisplay::kReasoning;
        case agents::ToolProgress::kEvents:
            return ToolDisplay::kEvents;
        case agents::ToolProgress::kOpenWebui:
            return ToolDisplay::kOpenWebui;
        case agents::ToolProgress::kAuto:
        case agents::ToolProgress::kQuiet:
            break;
    }
    return is_open_webui_chat(head) ? ToolDisplay::kOpenWebui : ToolDisplay::kQuiet;
}

void append_cut_body(std::string& out, std::string_view text, std::size_t bytes_max) {
    auto const begin = out.size();
    auto const head = text.substr(0, utf8_start(text, std::min(text.size(), bytes_max)));
    core::append_json_body(out, head);
    if (head.size() == text.size() && out.size() - begin <= bytes_max) return;
    auto const note = fmt::format(" … [cut, {} bytes in all]", text.size());
    auto const room = bytes_max > note.size() ? bytes_max - note.size() : 0;
    auto const kept = room == 0 ? 0 : piece_size(std::string_view(out).substr(begin), room);
    out.resize(begin + kept);
    out += note;
}

void append_agent_event(std::string& out, chat::ToolStarted const& event) {
    begin_agent_event(out, "started", event.call_id);
    out += R"(,"name":)";
    core::append_json_string(out, event.name);
    append_member(out, "arguments", event.arguments, kShownEventBytesMax);
    out += '}';
}

void append_agent_event(std::string& out, chat::ToolProgress const& event) {
    begin_agent_event(out, "progress", event.call_id);
    append_number(out, "progress", event.progress);
    if (event.total > 0) append_number(out, "total", event.total);
    if (!event.message.empty()) append_member(out, "message", event.message, kShownMessageBytesMax);
    out += '}';
}

void append_agent_event(std::string& out, chat::ToolEnded const& event) {
    begin_agent_event(out, "completed", event.call_id);
    out += R"(,"name":)";
    core::append_json_string(out, event.name);
    append_member(out, "result", event.result, kShownEventBytesMax);
    fmt::format_to(std::back_inserter(out), R"(,"is_error":{},"duration_ms":{}}})", event.is_error, event.duration_ms);
}

void append_open_webui_call(std::string& out, std::string_view call_id, std::string_view name,
                            std::string_view arguments, bool completed) {
    std::string id;
    core::append_json_body(id, call_id);
    fmt::format_to(std::back_inserter(out),
                   R"(data: {{"type":"response.output_item.added","output_index":{},"item":{{"type":"function_call",)"
                   R"("id":"fc_{}","call_id":"{}","name":)",
                   kOpenWebuiIndex, id, id);
    core::append_json_string(out, name);
    fmt::format_to(std::back_inserter(out), R"(,"arguments":"{}","status":"{}"}}}})", open_webui_arguments(arguments),
                   completed ? "completed" : "in_progress");
    out += "\n\n";
}

// `output` must be a list: a plain string renders empty.
void append_open_webui_output(std::string& out, chat::ToolEnded const& event) {
    std::string id;
    core::append_json_body(id, event.call_id);
    fmt::format_to(std::back_inserter(out),
                   R"(data: {{"type":"response.output_item.added","output_index":{},)"
                   R"("item":{{"type":"function_call_output","id":"fco_{}","call_id":"{}","status":"{}",)"
                   R"("output":[{{"type":"input_text","text":")",
                   kOpenWebuiIndex, id, id, event.is_error ? "failed" : "completed");
    append_cut_body(out, event.result, kOpenWebuiResultBytesMax);
    out += "\"}]}}\n\n";
}

std::string reasoning_line(chat::ToolStarted const& event) {
    return fmt::format("Using {} …", event.name);
}

std::string reasoning_line(std::string_view name, chat::ToolProgress const& event) {
    auto line = fmt::format("{}: {}", name, event.progress);
    if (event.total > 0) line += fmt::format(" of {}", event.total);
    auto const message = first_line(event.message);
    if (!message.empty()) line.append(", ").append(message);
    return line;
}

std::string reasoning_line(chat::ToolEnded const& event) {
    if (!event.is_error) return fmt::format("{} took {}.", event.name, duration(event.duration_ms));
    auto const reason = first_line(event.result);
    return fmt::format("{} failed after {}{}{}", event.name, duration(event.duration_ms), reason.empty() ? "." : ": ",
                       reason);
}

bool ToolTrace::start(chat::ToolStarted const& event) {
    auto const same = [&](Call const& call) { return call.call_id == event.call_id; };
    if (started_ == kToolCallsShownMax || std::any_of(open_.begin(), open_.end(), same)) return false;
    ++started_;
    open_.push_back({std::string(event.call_id), std::string(event.name), std::string(event.arguments)});
    return true;
}

ToolTrace::Call const* ToolTrace::progress(chat::ToolProgress const& event) {
    auto const found =
        std::find_if(open_.begin(), open_.end(), [&](Call const& call) { return call.call_id == event.call_id; });
    if (found == open_.end()) return nullptr;
    auto const now = now_();
    auto const first = found->progress_shown == core::SteadyTime{};
    if (!first && now - found->progress_shown < kProgressInterval) return nullptr;
    found->progress_shown = now;
    return &*found;
}

bool ToolTrace::end(std::string_view call_id, Call& ended) {
    auto const found =
        std::find_if(open_.begin(), open_.end(), [&](Call const& call) { return call.call_id == call_id; });
    if (found == open_.end()) return false;
    ended = std::move(*found);
    open_.erase(found);
    return true;
}

chat::ToolEnded unanswered(ToolTrace::Call const& call) noexcept {
    return {call.call_id, call.name, "The run ended before this tool did.", true, 0};
}

} // namespace parley::server

// What the writers of chat completions make of the tools that an agent runs: see ToolDisplay.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "core/json.hpp"
#include "server/chat_writer.hpp"
#include "server/chat_writer_parts.hpp"
#include "server/open_webui.hpp"

namespace parley::server {

// An ordinary chunk with an empty delta: even strict readers take a member that they do not know, and nothing else
// (tests/integration/sdk).
template <class Event>
void ChatStreamWriter::write_agent_event(Event const& event, std::string& out) {
    begin_chunk(0, out);
    out += R"(},"finish_reason":null}],)";
    if (head_.include_usage) out += R"("usage":null,)";
    out += R"("agent":)";
    append_agent_event(out, event);
    out += "}\n\n";
}

// Reasoning is one text to its reader: a line of ours starts and ends a line.
void ChatStreamWriter::write_reasoning_line(std::string_view line, std::string& out) {
    std::string body = reasoning_line_open_ ? "\\n" : "";
    core::append_json_body(body, line);
    body += "\\n";
    on(chat::ReasoningDelta{body}, out);
}

void ChatStreamWriter::on(chat::ToolStarted const& event, std::string& out) {
    if (head_.tools == ToolDisplay::kQuiet || !tools_.start(event) || !open(0, out)) return;
    switch (head_.tools) {
        case ToolDisplay::kReasoning:
            return write_reasoning_line(reasoning_line(event), out);
        case ToolDisplay::kEvents:
            return write_agent_event(event, out);
        case ToolDisplay::kOpenWebui:
            return append_open_webui_call(out, event.call_id, event.name, event.arguments, false);
        case ToolDisplay::kQuiet:
            return;
    }
}

void ChatStreamWriter::on(chat::ToolProgress const& event, std::string& out) {
    auto const* const call = tools_.progress(event);
    if (call == nullptr) return;
    if (head_.tools == ToolDisplay::kReasoning) write_reasoning_line(reasoning_line(call->name, event), out);
    if (head_.tools == ToolDisplay::kEvents) write_agent_event(event, out);
    if (head_.tools == ToolDisplay::kOpenWebui) append_status(out, reasoning_line(call->name, event), false);
}

void ChatStreamWriter::on(chat::ToolEnded const& event, std::string& out) {
    ToolTrace::Call call;
    if (!tools_.end(event.call_id, call)) return;
    switch (head_.tools) {
        case ToolDisplay::kReasoning:
            return write_reasoning_line(reasoning_line(event), out);
        case ToolDisplay::kEvents:
            return write_agent_event(event, out);
        case ToolDisplay::kOpenWebui:
            append_open_webui_call(out, call.call_id, call.name, call.arguments, true);
            append_open_webui_output(out, event);
            for (auto const& source : event.sources)
                append_source(out, source);
            for (auto const& image : event.images)
                append_image(out, image);
            if (call.progress_shown != core::SteadyTime{}) append_status(out, reasoning_line(event), true);
            return;
        case ToolDisplay::kQuiet:
            return;
    }
}

// Open WebUI runs a call that has no output by itself and then asks us again.
void ChatStreamWriter::end_open_tools(std::string& out) {
    while (!tools_.empty()) {
        auto const call = tools_.oldest(); // a copy: on() takes the original out
        on(unanswered(call), out);
    }
}

void ChatJsonWriter::on(chat::ToolStarted const& event) {
    if (head_.tools != ToolDisplay::kEvents || tools_.size() == kToolCallsShownMax) return;
    auto& tool = tools_.emplace_back();
    core::append_json_body(tool.call_id, event.call_id);
    core::append_json_body(tool.name, event.name);
    append_cut_body(tool.arguments, event.arguments, kShownEventBytesMax);
}

void ChatJsonWriter::on(chat::ToolEnded const& event) {
    if (tools_.empty()) return;
    std::string id;
    core::append_json_body(id, event.call_id);
    auto const found = std::find_if(tools_.begin(), tools_.end(),
                                    [&](ShownTool const& tool) { return !tool.ended && tool.call_id == id; });
    if (found == tools_.end()) return;
    found->ended = true;
    found->is_error = event.is_error;
    found->duration_ms = event.duration_ms;
    append_cut_body(found->result, event.result, kShownEventBytesMax);
}

void ChatJsonWriter::append_agent(std::string& out) const {
    if (tools_.empty()) return;
    out += R"(,"agent":{"tool_calls":[)";
    for (std::size_t i = 0; i < tools_.size(); ++i) {
        auto const& tool = tools_[i];
        auto const result = tool.ended ? std::string_view(tool.result) : unanswered({}).result;
        fmt::format_to(
            std::back_inserter(out),
            R"({}{{"call_id":"{}","name":"{}","arguments":"{}","result":"{}","is_error":{},"duration_ms":{}}})",
            i == 0 ? "" : ",", tool.call_id, tool.name, tool.arguments, result, tool.is_error, tool.duration_ms);
    }
    out += "]}";
}

} // namespace parley::server

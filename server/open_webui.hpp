// What is said to and by Open WebUI alone: how it is known, its own tools, and lines of a stream that only it reads
// (0.12.4, seen live). Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "chat/run_event.hpp"
#include "net/http_head.hpp"

namespace parley::server {

/// A request of Open WebUI: it resends whole histories. Only where its administrator had headers forwarded.
bool is_open_webui(net::RequestHead const& head) noexcept;

/// A chat that it renders: its API without a chat and its background tasks want a plain answer.
bool is_open_webui_chat(net::RequestHead const& head) noexcept;

/// The JSON array of `tools` without those that Open WebUI itself brings along, whatever the model; nullopt when there
/// is none of them. Empty when nothing else is left.
std::optional<std::string> without_built_in_tools(std::string_view tools);

// Each appends one whole SSE event, `data:` and empty line included. Bytes are bounded (tool_display.hpp).

/// A line above the answer. It shimmers until one with `done` comes.
void append_status(std::string& out, std::string_view description, bool done);

/// A source that a text can be checked against; shown as "1 Source" below the answer.
void append_source(std::string& out, chat::ToolSource const& source);

/// A picture that a tool made. Nothing for what is no picture, or above kShownImageBytesMax.
void append_image(std::string& out, chat::ToolImage const& image);

} // namespace parley::server

// What the client asked for in one request, in slices of its own JSON. Plain data.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "chat/message.hpp"

namespace parley::chat {

// A request field that a provider may need: its name and its JSON value, both as sent.
// Values of known fields are already checked for type and range (server/chat_request.cpp).
struct Setting {
    std::string_view name; // without quotes, no escapes
    std::string_view json;
};

struct Turn {
    std::span<Message const> messages;
    std::span<Setting const>
        settings;                // all top-level fields but model, messages, stream, stream_options, tools, tool_choice
    std::string_view tools = {}; // JSON array of the client's tools, empty = none
    std::string_view tool_choice = {}; // JSON, empty = absent
    bool stream = false;               // ask the provider for a stream
    bool keep_reasoning = false; // ask for what the model thought in a form that can be sent back (its own next round)
};

} // namespace parley::chat

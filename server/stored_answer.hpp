// Reads a chat.completion object of our own making (ChatJsonWriter) back into the events that it was made from, so
// that a kept answer can be sent again in either form. Used by one request, on its loop.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chat/run_event.hpp"
#include "core/result.hpp"
#include "server/chat_writer.hpp"

namespace parley::server {

/// Movable: the events' views stay valid as long as it lives.
struct StoredAnswer {
    ChatReplyHead head; // id, created, model, choices
    std::vector<chat::RunEvent> events;

    std::unique_ptr<std::string const> json = {}; // what most views point into
    std::deque<std::string> made = {};            // the rest
};

/// Errors: kInternal when `json` is not such an object.
core::Result<StoredAnswer> read_stored_answer(std::string_view json);

} // namespace parley::server

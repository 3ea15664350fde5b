// A /v1/chat/completions request, read and checked. The history is not parsed into a tree: messages and settings are
// slices of the body, which the request owns. One per request, used on its loop only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/message.hpp"
#include "chat/turn.hpp"
#include "core/result.hpp"
#include "core/text_pool.hpp"

namespace parley::server {

struct RequestLimits {
    // A tool's JSON Schema starts at level 5 (body, tools, tool, function, parameters) and takes two levels per nested
    // object, so this allows 13 of them; OpenAI allows 10. Deeper texts are attacks on recursive readers.
    std::size_t depth_max = 32;
    std::size_t messages_max = 100'000;
    std::size_t fields_max = 1'000; // on the top level, unknown ones included
    std::size_t tools_max = 1'024;
};

/// Movable: slices stay valid. Everything that has slices into the body dies with it.
struct ChatRequest {
    std::string model;
    std::vector<chat::Message> messages;
    std::vector<chat::Setting> settings; // see chat::Turn; null ones of known name are absent
    std::string_view tools = {};         // JSON array, empty = none; from `functions` when that was sent
    std::string_view tool_choice = {};   // JSON, empty = absent; from `function_call` when that was sent
    std::string session_id = {};         // of the conversation, empty = not told
    std::string conversation_id = {};    // another name for it
    /// A tool's result whose call is not in the request: an error, unless the conversation is kept here.
    std::optional<core::Error> stray_result = {};
    bool stream = false;
    bool include_usage = false;
    int n = 1;
    std::optional<std::int64_t> max_tokens = {}; // max_completion_tokens, else max_tokens

    std::unique_ptr<core::PooledText const> body = {}; // what the slices point into
    std::list<std::string> made = {}; // slices that the body does not have: translations, unescaped names

    /// Its views are valid as long as this request, and are not moved with it: take a new one after a move.
    chat::Turn turn() const noexcept { return {messages, settings, tools, tool_choice, stream}; }

    /// Puts the JSON array `others` in the place of its tools; empty = none.
    void offer_only(std::string others);

    /// The JSON of the setting of that name, empty = absent.
    std::string_view setting(std::string_view name) const noexcept;
};

/// Reads and checks the JSON `body`. Unknown fields are accepted. Errors, with `param` = JSON path where there is one:
/// kInvalidJson, kMissingParameter, kInvalidType, kInvalidValue. One may be left in stray_result.
core::Result<ChatRequest> parse_chat_request(std::string body, RequestLimits const& limits = {});

} // namespace parley::server

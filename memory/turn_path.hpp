// The path of a conversation in its tree, as the messages of a request tell it. Pure functions over one request.
//
// A turn's id is a digest of its parent's id and of what a person would call the same content. So a client that sends
// the whole history again names, without knowing it, the turns that are stored: nothing is asked to find them. Tool
// rounds of the agent do not count: whether a client sends them back (native items of Open WebUI), as markup, or not at
// all, it names the same answer. System and developer messages belong to the request, not to the conversation.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/message.hpp"

namespace parley::memory {

using TurnId = std::array<std::uint8_t, 32>;

/// The parent of first turns.
inline constexpr TurnId kRoot{};

enum class TurnKind : std::uint8_t {
    kInput = 0,      // a user's message
    kAnswer = 1,     // all that a model said until it waited for the client: text, rounds of the agent's tools
    kToolResult = 2, // of a tool of the client
};

struct Turn {
    TurnKind kind = TurnKind::kInput;
    TurnId id = kRoot;
    TurnId parent = kRoot;
    std::size_t first = 0; // of the messages that it is made of; system messages may stand among them
    std::size_t last = 0;  // one behind
};

/// The turns that `messages` tell, oldest first, as the children of `parent`. `client_tools`: the names of the tools
/// that the request brings; calls of any other tool were the agent's. `awaited`: ids of calls made before these
/// messages whose results the client is to bring.
std::vector<Turn> turns_of(std::span<chat::Message const> messages, std::span<std::string const> client_tools,
                           TurnId const& parent = kRoot, std::span<std::string const> awaited = {});

/// The id of an answer that we made: its visible text (all rounds), and the calls that the client is to run, as the
/// JSON array `tool_calls`, empty = none.
TurnId answer_id(TurnId const& parent, std::string_view text, std::string_view client_calls_json);

/// The text of a message's content: a string's, or that of all text parts of an array.
std::string content_text(chat::Message const& message);

} // namespace parley::memory

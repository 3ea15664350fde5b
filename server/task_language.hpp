// The languages in which Parley itself can say something about a chat. Immutable tables, pure functions.
#pragma once

#include <array>
#include <span>
#include <string_view>

namespace parley::server {

struct TaskLanguage {
    std::string_view code;                      // ISO 639-1
    std::string_view general;                   // a tag that fits every chat
    std::array<std::string_view, 3> follow_ups; // what a user may well say next, whatever the chat is about
    std::span<std::string_view const> common;   // its commonest words, lower case: they tell it and are no subject
};

/// The language of `text` (UTF-8), by its script and its commonest words; English where they do not tell.
TaskLanguage const& language_of(std::string_view text);

/// True for a word (lower case) that is among the commonest of its language.
bool is_common(TaskLanguage const& language, std::string_view word);

} // namespace parley::server

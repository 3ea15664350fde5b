// One message of a conversation as the client sent it: a slice of its JSON, looked at once, never rebuilt.
// The bytes belong to the request body (or the store's row) and outlive every Message that points into them.
#pragma once

#include <cstdint>
#include <string_view>

namespace parley::chat {

enum class Role : std::uint8_t { kSystem, kDeveloper, kUser, kAssistant, kTool, kFunction };

std::string_view role_name(Role role) noexcept;

struct Message {
    Role role = Role::kUser;
    std::string_view json;           // the whole object, valid JSON, `{` to `}`
    std::string_view content;        // JSON of `content`: a quoted string, an array, `null`, or empty when absent
    std::string_view role_json = {}; // the quoted role inside `json`, so that a dialect can replace it
    bool plain = false; // nothing but `role` and a string `content`: any dialect can pass `content` on as it is
    char const* follows = nullptr; // the end of another message that stands in the same text before this one, with
                                   // nothing but a comma and white space between; null = none that is known
};

} // namespace parley::chat

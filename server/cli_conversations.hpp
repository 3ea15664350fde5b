// `parley conversations …` and `parley migrate`: what the store holds, without a gateway around it. Return exit codes.
#pragma once

#include <optional>
#include <string>

#include "server/settings.hpp"

namespace parley::server {

struct ConversationOptions {
    std::optional<std::string> user = {}; // the principal; absent = all, or anonymous where one is needed
    std::string session = {};             // empty = all of them
    std::int64_t limit = 100;
    bool all = false; // erase all of a user
    bool as_json = false;
};

int conversations_list(Flags const& flags, ConversationOptions const& options);
int conversations_show(Flags const& flags, ConversationOptions const& options);
int conversations_export(Flags const& flags, ConversationOptions const& options);
int conversations_erase(Flags const& flags, ConversationOptions const& options);

/// Brings the schema up to date, as the gateway does when it starts.
int migrate(Flags const& flags, bool as_json);

} // namespace parley::server

// What the commands of `parley` do. Each returns the process's exit code.
#pragma once

#include <string>

#include "server/settings.hpp"

namespace parley::server {

// Exit codes, stable: scripts depend on them.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFault = 1; // the configuration is at fault, or the command failed
inline constexpr int kExitUsage = 2; // the command line is at fault

int serve(Flags const& flags);
int validate(Flags const& flags, bool as_json);
int list_agents(Flags const& flags, bool as_json);

struct ChatOptions {
    std::string model;
    std::string url;     // of a running gateway, e.g. http://127.0.0.1:8000; empty = start one for this chat
    std::string message; // ask this one thing and leave; empty = talk
    bool as_json = false;
};
int chat(Flags const& flags, ChatOptions const& options);

} // namespace parley::server

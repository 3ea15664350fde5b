// How one server is doing, for people and programs: plain data without secrets.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace parley::mcp {

struct ServerHealth {
    std::string label;
    std::string transport; // stdio, http, sse, or "http or sse" while it is not known
    std::string state;     // idle, starting, ready, failed
    std::string protocol_version = {};
    std::string name = {}; // as the server calls itself
    std::size_t sessions = 0;
    std::optional<std::vector<std::string>> tools = {}; // by name; nullopt = never listed
    std::vector<std::string> refused_tools = {};        // with the reason
    std::vector<std::string> changed_tools = {};        // whose definition is not the pinned one
    std::string last_error = {};
    std::vector<std::string> stderr_lines = {}; // the last ones of a program that failed, oldest first
};

} // namespace parley::mcp

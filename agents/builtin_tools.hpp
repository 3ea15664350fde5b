// The tools that every gateway has without any server (`allowed_regular_tools` chooses among them): small, fast,
// without side effects. Run on the request's loop.
#pragma once

#include <boost/json/object.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace parley::agents {

struct BuiltinTool {
    std::string_view name;
    std::string_view description;
    std::string_view schema; // JSON Schema of the arguments
};

std::span<BuiltinTool const> builtin_tools() noexcept;

/// Their names, in the order of builtin_tools().
std::span<std::string_view const> builtin_tool_names() noexcept;

struct BuiltinResult {
    std::string text;
    bool is_error = false;
};

/// Runs one of them. `arguments` fit its schema. `now` in seconds since 1970.
BuiltinResult run_builtin_tool(std::string_view name, boost::json::object const& arguments, std::int64_t now);

} // namespace parley::agents

// The parts of a chat request, each with a file of its own. Used by chat_request*.cpp only; no state.
#pragma once

#include <list>
#include <string>
#include <string_view>
#include <vector>

#include "chat/message.hpp"
#include "core/result.hpp"
#include "server/chat_request.hpp"
#include "server/chat_request_checks.hpp"

namespace parley::core {
class CheckedObject;
struct JsonMember;
} // namespace parley::core

namespace parley::server {

/// Checks `messages`, a member of the request, and appends a slice for each to `out`. Errors: as parse_chat_request.
core::Result<> read_messages(core::CheckedObject& request, core::JsonMember const& messages,
                             RequestLimits const& limits, ChatRequest& out);

/// Checks `tools`; true when there is at least one.
core::Result<bool> check_tools(Slice tools, RequestLimits const& limits);

core::Result<> check_tool_choice(Slice tool_choice);

/// The deprecated `functions` and `function_call`, as `tools` and `tool_choice`. Empty = there are none.
core::Result<std::string> tools_from_functions(Slice functions, RequestLimits const& limits);
core::Result<std::string> tool_choice_from_function_call(Slice function_call);

/// Checks the other top-level fields by name. Yields the JSON to keep: `value` itself, a plainer spelling of it in
/// `made`, or nothing for a null. Fields that we do not know pass as they are.
core::Result<std::string_view> check_setting(std::string_view name, Slice value, std::list<std::string>& made);

} // namespace parley::server

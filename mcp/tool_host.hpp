// The face of all tool servers: what agents/ sees of this room. One per request loop; waits on that loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/run_event.hpp"
#include "core/context.hpp"
#include "core/task.hpp"
#include "mcp/server_spec.hpp"

namespace parley::mcp {

/// Who is behind a call: decides which session serves it and fills headers. Copied to the servers' loop.
struct Caller {
    std::string principal;    // of the API key; sessions are never shared between two of them unless the spec says so
    std::string user_id = {}; // x-user-id; empty = principal
    std::string session_id = {}; // of the conversation, empty = none
    std::string agent_id = {};
    std::string request_id = {};
    std::vector<std::pair<std::string, std::string>> headers =
        {}; // of the request, lower-case names, without credentials
};

/// One tool as its server describes it.
struct Tool {
    std::string name;               // the server's own
    std::string description;        // may be empty; untrusted text
    std::string input_schema;       // JSON object, verbatim
    std::string output_schema = {}; // JSON object or empty
    bool read_only = false;         // annotations.readOnlyHint: a hint, not a promise
    std::string sha256;             // of the whole definition in canonical form: its pin
};

/// A server's tools at one moment. Immutable; a changed list is a new object, so its address can key a cache.
struct ToolList {
    std::vector<Tool> tools; // sorted by name: the same list gives the same bytes, which prompt caches like
};

struct ServerTools {
    std::shared_ptr<ServerSpec const> server;
    std::shared_ptr<ToolList const> list; // null when unavailable says why
    std::string unavailable = {};         // for people; no secrets
};

struct Progress {
    double progress = 0;
    std::optional<double> total = {};
    std::string message = {};
};

struct ToolCall {
    std::shared_ptr<ServerSpec const> server;
    std::string tool;                                      // the server's own name
    std::string arguments;                                 // JSON object, already checked
    std::function<void(Progress const&)> on_progress = {}; // runs on the caller's loop, only while call() waits
};

using Image = chat::ToolImage;

/// What came of a call. A failing server or tool is a result too (is_error), because the model must be told.
struct CallResult {
    std::string text; // UTF-8 for the model: text blocks, the rest described; capped (ServerSpec::result_bytes_max)
    std::string structured = {}; // structuredContent as JSON, empty = none or above the cap
    std::vector<Image> images = {};
    std::vector<chat::ToolSource> sources = {}; // pages that the result names
    bool is_error = false;
    bool reached_tool = false; // the server may have done something: the request must not be repeated lightly
};

class ToolHost {
public:
    virtual ~ToolHost() = default;

    /// The tools of each server, in the order asked for. Starts and connects what is not running; servers are asked
    /// side by side, and one that does not answer is `unavailable` instead of an error. Errors: kCancelled,
    /// kDeadlineExceeded of the context.
    virtual core::Task<std::vector<ServerTools>> tools(core::Context const& context, Caller const& caller,
                                                       std::span<std::shared_ptr<ServerSpec const> const> servers) = 0;

    /// Runs one tool. Timeouts, dead servers and protocol errors are results with is_error. Cancelling the context
    /// tells the server. Errors: kCancelled, kDeadlineExceeded of the context.
    virtual core::Task<CallResult> call(core::Context const& context, Caller const& caller, ToolCall call) = 0;
};

} // namespace parley::mcp

// The one place that maps our errors to what a client of the OpenAI API sees: status, headers, body.
// Pure functions, no state: callable from any loop.
#pragma once

#include <string>

#include "core/error.hpp"
#include "net/http_server.hpp"

namespace parley::server {

struct ApiError {
    int status = 500;
    std::string body;            // JSON, {"error":{...}}
    net::ResponseFields headers; // no content-type
};

/// The HTTP answer for `error`. Status 499 (kCancelled) is for the log: nobody is left to read the answer.
ApiError to_api_error(core::Error const& error);

/// Appends {"error":{"message","type","param","code"}}, the body above.
void append_error_json(std::string& out, core::Error const& error);

/// The same for the last event of a stream, which has no headers any more: x-should-retry, where it would be sent,
/// is the member `should_retry`.
void append_stream_error_json(std::string& out, core::Error const& error);

} // namespace parley::server

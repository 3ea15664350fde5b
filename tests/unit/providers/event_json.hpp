// chat::RunEvent and core::Error as JSON, in the form of tests/golden/README.md, and how two such lists compare.
// Test side only.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <span>
#include <string_view>

#include "chat/run_event.hpp"
#include "core/error.hpp"

namespace parley::tests {

/// Throws when a body or a value in the event is not valid JSON: then the decoder is broken.
boost::json::object event_to_json(chat::RunEvent const& event);

/// {"error": {…}}
boost::json::object error_to_json(core::Error const& error);

/// The enumerator's name, e.g. "kRateLimited".
std::string_view errc_name(core::Errc code);

/// Appends one line, joined with the last one where the two are pieces of the same text.
void append_event_line(boost::json::array& lines, boost::json::object line);
void append_events(boost::json::array& lines, std::span<chat::RunEvent const> events);

/// Equal, but for errors, of which only what `expected` says is compared.
bool lines_match(boost::json::array const& expected, boost::json::array const& actual);

} // namespace parley::tests

// Reads an answer of the Responses API: a stream of events, or one Response object; told apart by its first byte.
// One per model call; single-threaded; no I/O. Source: OpenAI API reference, "Responses: streaming events".
#pragma once

#include <memory>

#include "providers/dialect.hpp"

namespace parley::providers {

/// Text of two message items, and two parts of a reasoning summary, are set apart by an empty line: chat completions
/// has one message only. Where deltas are missing, the text of the matching `done` event or of the final Response
/// counts. What is already known is not said twice.
std::unique_ptr<Decoder> make_responses_decoder();

} // namespace parley::providers

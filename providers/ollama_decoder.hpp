// Reads an answer of Ollama's /api/chat: NDJSON lines, or one JSON object.
// One per model call; single-threaded; no I/O. Source: github.com/ollama/ollama docs/api.md.
#pragma once

#include <memory>

#include "providers/dialect.hpp"

namespace parley::providers {

/// `streaming` = lines are read as they come; otherwise the body is read when it has ended.
std::unique_ptr<Decoder> make_ollama_decoder(bool streaming);

} // namespace parley::providers

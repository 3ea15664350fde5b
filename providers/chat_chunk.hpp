// One JSON object of a chat completion (a stream's chunk or a whole answer) as plain slices of its own text.
// Reading only: what the slices mean over the course of an answer is chat_completions_decoder.cpp's business.
// Owned by one decoder, single-threaded.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "chat/usage.hpp"

namespace parley::providers {

// Bodies are JSON string bodies with their quotes off, not repaired yet; JSON values are not validated inside.
struct ChunkToolCall {
    int index = -1; // as sent, -1 = not sent
    std::string_view id;
    std::string_view name;
    std::string_view arguments;      // a body, or JSON where arguments_are_json
    bool arguments_are_json = false; // an object was sent instead of text
};

struct ChunkField {
    std::string_view name; // body
    std::string_view json;
};

struct ChunkPart {
    enum class Kind { kText, kReasoning, kRefusal } kind = Kind::kText;
    std::string_view body;
};

/// What one choice adds. The vectors of the chunk are shared by its choices: each has its own stretch of them.
struct ChunkChoice {
    struct Stretch {
        std::size_t begin = 0;
        std::size_t end = 0;
    };

    int index = -1;                 // -1 = not sent
    Stretch parts;                  // of Chunk::parts
    Stretch calls;                  // of Chunk::calls
    Stretch fields;                 // of Chunk::fields
    std::string_view logprobs;      // JSON, empty = none
    std::string_view finish_reason; // body, empty = none
    std::string_view error;         // JSON, empty = none
};

struct Chunk {
    std::string_view id;
    std::string_view model;
    std::string_view system_fingerprint;
    std::string_view service_tier;
    std::string_view error; // JSON, empty = none
    bool is_error = false;  // the object itself is one: {"object": "error", "message": …} (vLLM)
    bool has_choices = false;
    bool has_usage = false;
    chat::Usage usage;
    std::vector<ChunkChoice> choices;
    std::vector<ChunkPart> parts;
    std::vector<ChunkToolCall> calls;
    std::vector<ChunkField> fields;
};

enum class ChunkStatus { kRead, kInvalidUtf8, kInvalid };

/// Reads one object into `chunk`, in place of what that held. `json` has no white space around it and
/// core::kJsonPadding readable bytes behind it. Unknown members are skipped; JSON null reads as an empty chunk.
ChunkStatus read_chunk(std::string_view json, Chunk& chunk);

} // namespace parley::providers

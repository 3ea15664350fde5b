// A /v1/embeddings request: the model is ours to resolve, the rest is the provider's.
#pragma once

#include <string>

#include "core/result.hpp"

namespace parley::server {

struct EmbeddingsRequest {
    std::string model;
    std::string rest; // the other members as they were sent, as JSON without braces
};

/// Errors, with `param`: kInvalidJson, kMissingParameter, kInvalidType, kInvalidValue.
core::Result<EmbeddingsRequest> parse_embeddings_request(std::string body);

} // namespace parley::server

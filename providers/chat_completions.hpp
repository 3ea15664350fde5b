// The OpenAI chat-completions family: one encoder and one decoder, and the rules in which its members differ.
// Pure translation, used by dialect_openai.cpp, dialect_azure_chat.cpp and dialect_openrouter.cpp only.
// Everything here is immutable or belongs to one model call.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "providers/dialect.hpp"

namespace parley::providers {

/// How one member of the family differs from the others.
struct FamilyRules {
    /// The name under which max_tokens and max_completion_tokens are sent.
    std::string_view max_tokens_name = "max_tokens";
    /// The server refuses what it does not know: of a request's settings only OpenAI's own are sent, and members of
    /// messages that are not OpenAI's are taken out.
    bool known_fields_only = false;
    /// The server knows the role `developer`; else it becomes `system`.
    bool developer_role = false;
    /// JSON of `stream_options` for streams, empty = the server must not be asked or need not be.
    std::string_view stream_options = {};
    /// Request fields that are never sent, beside those that none of the family may be sent.
    std::span<std::string_view const> dropped = {};
};

/// Serialises what is fixed: the start of the body up to the first history message, settings, tools.
std::unique_ptr<PreparedModel const> prepare_chat(ModelSpec const& spec, FamilyRules const& rules);

/// A chat completions request. `model` must come from prepare_chat.
EncodedRequest encode_chat(std::string path, PreparedModel const& model, chat::Turn const& turn,
                           FamilyRules const& rules);

/// The name under which `model` was prepared (Azure: the deployment).
std::string_view prepared_model_name(PreparedModel const& model);

/// Reads an SSE stream or a JSON body. Tells them apart by themselves: servers lie about Content-Type.
std::unique_ptr<Decoder> make_chat_decoder();

/// {"model": …, body_rest}
std::string embeddings_body(std::string_view model, std::string_view body_rest);

} // namespace parley::providers

// OpenRouter. base_url: https://openrouter.ai/api/v1. Usage (with cost) comes without being asked for.
// Source: openrouter.ai/docs/api/reference. Immutable, shared by all loops.
#include <array>

#include "providers/chat_completions.hpp"
#include "providers/provider_error.hpp"

namespace parley::providers {

namespace {

using namespace std::string_view_literals;

/// Ours (session_id is theirs too: sticky routing), and what would let a client replace the agent's model.
constexpr std::array kDropped{"conversation_id"sv, "chat_id"sv, "message_id"sv, "id"sv, "models"sv, "preset"sv};

constexpr FamilyRules kRules{.dropped = kDropped};

class OpenRouterDialect final : public Dialect {
public:
    std::unique_ptr<PreparedModel const> prepare(ModelSpec const& spec) const override {
        return prepare_chat(spec, kRules);
    }

    core::Result<EncodedRequest> encode(PreparedModel const& model, chat::Turn const& turn) const override {
        return encode_chat("/chat/completions", model, turn, kRules);
    }

    std::unique_ptr<Decoder> decoder(bool /*streaming*/) const override { return make_chat_decoder(); }

    core::Error decode_error(ErrorAnswer const& answer) const override { return error_from_answer(answer); }

    EncodedRequest encode_embeddings(std::string_view model, std::string_view body_rest) const override {
        return {"/embeddings", embeddings_body(model, body_rest)};
    }
};

} // namespace

std::unique_ptr<Dialect> make_openrouter_dialect() {
    return std::make_unique<OpenRouterDialect>();
}

} // namespace parley::providers

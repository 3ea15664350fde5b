// The dialect of OpenAI itself and of every server that copies it (vLLM, llama.cpp, LM Studio, DeepSeek, Mistral …).
// base_url includes the version: https://api.openai.com/v1, http://127.0.0.1:8080/v1.
// Immutable, shared by all loops.
#include <array>

#include "providers/chat_completions.hpp"
#include "providers/provider_error.hpp"

namespace parley::providers {

namespace {

using namespace std::string_view_literals;

/// Meant for us, not for a model server; some servers (Mistral) refuse what they do not know.
constexpr std::array kOurFields{"session_id"sv, "conversation_id"sv, "chat_id"sv, "message_id"sv, "id"sv, "metadata"sv};

class OpenAiDialect final : public Dialect {
public:
    explicit OpenAiDialect(FamilyRules rules) : rules_(rules) {}

    std::unique_ptr<PreparedModel const> prepare(ModelSpec const& spec) const override {
        return prepare_chat(spec, rules_);
    }

    core::Result<EncodedRequest> encode(PreparedModel const& model, chat::Turn const& turn) const override {
        return encode_chat("/chat/completions", model, turn, rules_);
    }

    std::unique_ptr<Decoder> decoder(bool /*streaming*/) const override { return make_chat_decoder(); }

    core::Error decode_error(ErrorAnswer const& answer) const override { return error_from_answer(answer); }

    EncodedRequest encode_embeddings(std::string_view model, std::string_view body_rest) const override {
        return {"/embeddings", embeddings_body(model, body_rest)};
    }

private:
    FamilyRules rules_;
};

} // namespace

std::unique_ptr<Dialect> make_openai_dialect(bool official_openai) {
    FamilyRules rules;
    if (official_openai) {
        rules.max_tokens_name = "max_completion_tokens"; // max_tokens is deprecated, and refused by reasoning models
        rules.known_fields_only = true;
        rules.developer_role = true;
        // Obfuscation pads every chunk with random text: bytes that we would only throw away.
        rules.stream_options = R"({"include_usage":true,"include_obfuscation":false})";
    } else {
        rules.stream_options = R"({"include_usage":true})";
        rules.dropped = kOurFields;
    }
    return std::make_unique<OpenAiDialect>(rules);
}

} // namespace parley::providers

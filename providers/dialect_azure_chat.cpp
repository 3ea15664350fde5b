// Azure OpenAI over chat completions (provider type azure_openai_cc), classic and v1 addresses.
// base_url is the resource alone: https://RES.openai.azure.com. Source: learn.microsoft.com, Azure OpenAI REST API
// reference and "API version lifecycle". Immutable, shared by all loops.
#include <utility>

#include "core/percent.hpp"
#include "providers/chat_completions.hpp"
#include "providers/provider_error.hpp"

namespace parley::providers {

namespace {

/// The first api-version that knows max_completion_tokens and stream_options; versions sort as text.
constexpr std::string_view kFirstModernVersion = "2024-09-01";

class AzureChatDialect final : public Dialect {
public:
    AzureChatDialect(std::string api_version, bool v1) : v1_(v1) {
        rules_.known_fields_only = true;
        if (v1 || api_version >= kFirstModernVersion) {
            rules_.max_tokens_name = "max_completion_tokens";
            rules_.stream_options = R"({"include_usage":true})";
        }
        if (!api_version.empty()) query_ = "?api-version=" + core::percent_encode(api_version);
    }

    std::unique_ptr<PreparedModel const> prepare(ModelSpec const& spec) const override {
        return prepare_chat(spec, rules_);
    }

    core::Result<EncodedRequest> encode(PreparedModel const& model, chat::Turn const& turn) const override {
        return encode_chat(path(prepared_model_name(model), "/chat/completions"), model, turn, rules_);
    }

    std::unique_ptr<Decoder> decoder(bool /*streaming*/) const override { return make_chat_decoder(); }

    core::Error decode_error(ErrorAnswer const& answer) const override { return error_from_answer(answer); }

    EncodedRequest encode_embeddings(std::string_view model, std::string_view body_rest) const override {
        return {path(model, "/embeddings"), embeddings_body(model, body_rest)};
    }

private:
    std::string path(std::string_view deployment, std::string_view operation) const {
        std::string path = v1_ ? std::string("/openai/v1") : "/openai/deployments/" + core::percent_encode(deployment);
        path += operation;
        path += query_;
        return path;
    }

    bool v1_;
    std::string query_;
    FamilyRules rules_;
};

} // namespace

std::unique_ptr<Dialect> make_azure_chat_dialect(std::string api_version, bool v1) {
    return std::make_unique<AzureChatDialect>(std::move(api_version), v1);
}

} // namespace parley::providers

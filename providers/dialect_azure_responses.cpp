// Azure OpenAI by the Responses API, stateless: store is always false, the history travels with each request.
// Immutable, shared by all loops. Source: Microsoft Learn, "Azure OpenAI Responses API" and "API version lifecycle".
#include <utility>
#include <vector>

#include "core/json.hpp"
#include "core/percent.hpp"
#include "providers/chat_completions.hpp"
#include "providers/dialect.hpp"
#include "providers/json_text.hpp"
#include "providers/merged_settings.hpp"
#include "providers/provider_error.hpp"
#include "providers/responses_decoder.hpp"
#include "providers/responses_input.hpp"
#include "providers/responses_settings.hpp"

namespace parley::providers {

namespace {

struct ResponsesModel final : PreparedModel {
    explicit ResponsesModel(core::Result<std::string> agent_tools) : tools(std::move(agent_tools)) {}

    std::string head;                // `"model":…,"store":false` and `"instructions":…`, members without the brace
    core::Result<std::string> tools; // elements; the error of a tool that cannot be sent shows at the first request
    std::vector<DefaultSetting> defaults;
    bool reasons = false;
};

class AzureResponsesDialect final : public Dialect {
public:
    AzureResponsesDialect(std::string const& api_version, bool v1)
        : v1_(v1), query_(api_version.empty() ? "" : "?api-version=" + core::percent_encode(api_version)) {}

    std::unique_ptr<PreparedModel const> prepare(ModelSpec const& spec) const override {
        auto prepared = std::make_unique<ResponsesModel>(responses_tools(spec.tools));
        ObjectText head(prepared->head);
        head.text("model", spec.model);
        head.raw("store", "false");
        if (!spec.system_prompt.empty()) head.text("instructions", spec.system_prompt);
        prepared->defaults = default_settings(spec.settings);
        prepared->reasons = is_reasoning_model(spec.model) || spec.settings.contains("reasoning_effort") ||
                            spec.settings.contains("reasoning");
        return prepared;
    }

    core::Result<EncodedRequest> encode(PreparedModel const& model, chat::Turn const& turn) const override;

    std::unique_ptr<Decoder> decoder(bool /*streaming*/) const override { return make_responses_decoder(); }

    core::Error decode_error(ErrorAnswer const& answer) const override { return error_from_answer(answer); }

    EncodedRequest encode_embeddings(std::string_view model, std::string_view body_rest) const override {
        std::string path = v1_ ? std::string("/openai/v1") : "/openai/deployments/" + core::percent_encode(model);
        path.append("/embeddings").append(query_);
        return {std::move(path), embeddings_body(model, body_rest)};
    }

private:
    bool const v1_;
    std::string const query_;
};

core::Result<EncodedRequest> AzureResponsesDialect::encode(PreparedModel const& model, chat::Turn const& turn) const {
    auto const& prepared = static_cast<ResponsesModel const&>(model);
    if (!prepared.tools) return prepared.tools.error();
    auto const client_tools = responses_tools(turn.tools);
    if (!client_tools) return client_tools.error();
    bool const has_tools = !prepared.tools->empty() || !client_tools->empty();

    std::size_t bytes = prepared.head.size() + prepared.tools->size() + client_tools->size() + 512;
    for (auto const& message : turn.messages)
        bytes += message.json.size() + 48;

    EncodedRequest request{(v1_ ? "/openai/v1/responses" : "/openai/responses") + query_, {}};
    request.body.reserve(bytes);
    request.body = prepared.head;
    request.body += turn.stream ? R"(,"stream":true,"input":[)" : R"(,"input":[)";
    auto const input = append_responses_input(request.body, turn.messages);
    if (!input) return input.error();
    request.body += ']';
    if (has_tools) {
        request.body.append(R"(,"tools":[)").append(*prepared.tools);
        if (!prepared.tools->empty() && !client_tools->empty()) request.body += ',';
        request.body.append(*client_tools).append("]");
        if (!turn.tool_choice.empty() && turn.tool_choice != "null") {
            auto const choice = responses_tool_choice(turn.tool_choice);
            if (!choice) return choice.error();
            request.body.append(R"(,"tool_choice":)").append(*choice);
        }
    }
    auto rest = ObjectText::continued(request.body);
    auto const settings = write_responses_settings(rest, prepared.defaults, turn.settings, has_tools,
                                                   turn.keep_reasoning && prepared.reasons);
    if (!settings) return settings.error();
    rest.close();
    return request;
}

} // namespace

std::unique_ptr<Dialect> make_azure_responses_dialect(std::string api_version, bool v1) {
    return std::make_unique<AzureResponsesDialect>(api_version, v1);
}

} // namespace parley::providers

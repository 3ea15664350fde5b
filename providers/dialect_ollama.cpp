// Ollama by its native API: POST /api/chat. Its /v1 routes lose errors in the middle of a stream and know neither
// num_ctx nor keep_alive, so they serve for embeddings only. Immutable, shared by all loops.
// Source: github.com/ollama/ollama docs/api.md, server/routes.go (error texts).
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/ascii.hpp"
#include "core/json.hpp"
#include "providers/chat_completions.hpp"
#include "providers/dialect.hpp"
#include "providers/json_text.hpp"
#include "providers/merged_settings.hpp"
#include "providers/ollama_decoder.hpp"
#include "providers/ollama_messages.hpp"
#include "providers/ollama_options.hpp"
#include "providers/provider_error.hpp"

namespace parley::providers {

namespace {

struct OllamaModel final : PreparedModel {
    std::string model;  // JSON string
    std::string system; // the system message as JSON, or empty
    std::string tools;  // JSON array or empty
    std::vector<DefaultSetting> defaults;
};

bool has(std::string_view text, std::string_view part) noexcept {
    auto const found = std::search(text.begin(), text.end(), part.begin(), part.end(),
                                   [](char a, char b) { return core::ascii_lower(a) == core::ascii_lower(b); });
    return found != text.end();
}

/// The text of `{"error":"text"}`, or the body itself.
std::string error_text(std::string_view body) {
    JsonSlicer slicer;
    auto const members = slicer.members(body);
    if (!members) return std::string(body);
    return core::json_body_to_text(string_body(find_member(*members, "error")));
}

/// The name of the model in Ollama's text: what stands in the first pair of quotes, or else the first word.
std::string_view name_in(std::string_view text) noexcept {
    std::size_t const start = text.find_first_of("\"'");
    if (start == std::string_view::npos) return text.substr(0, text.find(' '));
    std::size_t const end = text.find(text[start], start + 1);
    return end == std::string_view::npos ? std::string_view{} : text.substr(start + 1, end - start - 1);
}

class OllamaDialect final : public Dialect {
public:
    std::unique_ptr<PreparedModel const> prepare(ModelSpec const& spec) const override {
        auto prepared = std::make_unique<OllamaModel>();
        core::append_json_string(prepared->model, spec.model);
        if (!spec.system_prompt.empty()) {
            prepared->system = R"({"role":"system","content":)";
            core::append_json_string(prepared->system, spec.system_prompt);
            prepared->system += '}';
        }
        prepared->tools = spec.tools;
        prepared->defaults = default_settings(spec.settings);
        return prepared;
    }

    core::Result<EncodedRequest> encode(PreparedModel const& model, chat::Turn const& turn) const override;

    std::unique_ptr<Decoder> decoder(bool streaming) const override { return make_ollama_decoder(streaming); }

    core::Error decode_error(ErrorAnswer const& answer) const override;

    EncodedRequest encode_embeddings(std::string_view model, std::string_view body_rest) const override {
        return {"/v1/embeddings", embeddings_body(model, body_rest)};
    }
};

core::Result<EncodedRequest> OllamaDialect::encode(PreparedModel const& model, chat::Turn const& turn) const {
    auto const& prepared = static_cast<OllamaModel const&>(model);
    std::size_t bytes = prepared.system.size() + prepared.tools.size() + turn.tools.size() + 512;
    for (auto const& message : turn.messages)
        bytes += message.json.size() + 32;

    EncodedRequest request{"/api/chat", {}};
    request.body.reserve(bytes);
    ObjectText body(request.body);
    body.raw("model", prepared.model);
    body.raw("stream", turn.stream ? "true" : "false"); // Ollama streams unless told otherwise
    body.name("messages").append("[").append(prepared.system);
    auto const messages = append_ollama_messages(request.body, turn.messages);
    if (!messages) return messages.error();
    request.body += ']';
    auto const tools = write_ollama_tools(body, prepared.tools, turn.tools, turn.tool_choice);
    if (!tools) return tools.error();
    auto const settings = write_ollama_settings(body, prepared.defaults, turn.settings);
    if (!settings) return settings.error();
    body.close();
    return request;
}

core::Error OllamaDialect::decode_error(ErrorAnswer const& answer) const {
    core::Error error = error_from_answer(answer);
    std::string const text = without_credentials(error_text(answer.body), kProviderMessageBytesMax);
    std::string_view const name = name_in(text);
    auto say = [&error](core::Errc code, std::string message) {
        error.code = code;
        error.message = std::move(message);
        error.param.clear();
    };
    if (answer.status == 404 && has(text, "not found") && has(text, "model")) {
        say(core::Errc::kUpstreamRejected,
            fmt::format("Ollama does not have the model '{0}'. Fetch it on the Ollama machine: ollama pull {0}", name));
        error.should_retry = false;
    } else if (answer.status == 400 && has(text, "does not support thinking")) {
        say(core::Errc::kUpstreamRejected,
            fmt::format("The model '{}' on Ollama cannot think: leave out 'reasoning_effort' and 'think'.", name));
    } else if (answer.status == 400 && has(text, "does not support tools")) {
        say(core::Errc::kUpstreamRejected,
            fmt::format("The model '{}' on Ollama cannot use tools: choose another model or leave the tools out.",
                        name));
    } else if (answer.status == 503) {
        error.code = core::Errc::kUpstreamOverloaded;
    } else if (answer.status == 400 && (has(text, "context length") || has(text, "context window"))) {
        error.code = core::Errc::kContextLengthExceeded;
        error.param = "messages";
    }
    return error;
}

} // namespace

std::unique_ptr<Dialect> make_ollama_dialect() {
    return std::make_unique<OllamaDialect>();
}

} // namespace parley::providers

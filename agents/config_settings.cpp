// The model_settings of an agent, see config_parts.hpp.
// Owned by one load of the configuration.
// Bounds are OpenAI's (chat/setting_bounds.hpp). Other servers take more, -1 for "without limit" for one, so what is
// outside of them is told and sent.
#include <boost/json/array.hpp>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "agents/config_json.hpp"
#include "agents/config_parts.hpp"
#include "chat/destination_fields.hpp"
#include "chat/setting_bounds.hpp"

namespace parley::agents {
namespace {

namespace json = boost::json;
using Names = std::vector<std::string_view>;

constexpr std::array<std::string_view, 3> kFlags{"logprobs", "parallel_tool_calls", "store"};
constexpr std::array<std::string_view, 4> kTexts{"prompt_cache_key", "prompt_cache_retention", "safety_identifier",
                                                 "service_tier"};
constexpr std::array<std::string_view, 6> kObjects{
    "audio", "metadata", "prediction", "prompt_cache_options", "response_format", "web_search_options"};
constexpr std::array<std::pair<std::string_view, chat::NumberBounds>, 4> kNumbers{
    {{"frequency_penalty", chat::kPenalty},
     {"presence_penalty", chat::kPenalty},
     {"temperature", chat::kTemperature},
     {"top_p", chat::kTopP}}};

// What OpenAI and the others take besides: known, so that it is not held for something misspelt. Ollama, Responses,
// OpenRouter, vLLM, llama.cpp, the demo.
constexpr std::string_view kOfProviders[] = {"stop",
                                             "logit_bias",
                                             "user",
                                             "modalities",
                                             "reasoning_effort",
                                             "verbosity",
                                             "tool_choice",
                                             "functions",
                                             "function_call",
                                             "moderation",
                                             "think",
                                             "format",
                                             "options",
                                             "keep_alive",
                                             "num_ctx",
                                             "num_predict",
                                             "num_keep",
                                             "num_gpu",
                                             "main_gpu",
                                             "num_thread",
                                             "num_batch",
                                             "use_mmap",
                                             "use_mlock",
                                             "numa",
                                             "low_vram",
                                             "top_k",
                                             "min_p",
                                             "typical_p",
                                             "tfs_z",
                                             "repeat_penalty",
                                             "repeat_last_n",
                                             "mirostat",
                                             "mirostat_eta",
                                             "mirostat_tau",
                                             "draft_num_predict",
                                             "truncate",
                                             "shift",
                                             "reasoning",
                                             "text",
                                             "include",
                                             "truncation",
                                             "max_output_tokens",
                                             "max_tool_calls",
                                             "context_management",
                                             "provider",
                                             "models",
                                             "route",
                                             "transforms",
                                             "plugins",
                                             "usage",
                                             "top_a",
                                             "include_reasoning",
                                             "min_tokens",
                                             "repetition_penalty",
                                             "length_penalty",
                                             "stop_token_ids",
                                             "bad_words",
                                             "best_of",
                                             "ignore_eos",
                                             "prompt_logprobs",
                                             "guided_json",
                                             "guided_regex",
                                             "guided_choice",
                                             "guided_grammar",
                                             "structured_outputs",
                                             "n_predict",
                                             "n_keep",
                                             "n_probs",
                                             "cache_prompt",
                                             "id_slot",
                                             "samplers",
                                             "grammar",
                                             "json_schema",
                                             "reasoning_format",
                                             "reasoning_budget",
                                             "thinking",
                                             "enable_thinking",
                                             "thinking_budget",
                                             "chat_template_kwargs",
                                             "data_sources",
                                             "min_keep",
                                             "priority",
                                             "penalize_newline",
                                             "demo_delay_ms",
                                             "user_security_context"};

// Never sent, wherever it stands, and where it belongs.
constexpr std::array<std::pair<std::string_view, std::string_view>, 21> kNoEffect{
    {{"messages", "what the model is always told goes into the agent's system_prompt"},
     {"model", "it is a member of the agent itself"},
     {"tools", "the agent has them from allowed_regular_tools and allowed_mcp_servers"},
     {"stream", "the client's request says whether the answer is streamed"},
     {"stream_options", "the client's request says whether the answer is streamed, and how"},
     {"api_base", "base_url of the provider is the address"},
     {"base_url", "it is a member of the provider"},
     {"azure_endpoint", "base_url of the provider is the address"},
     {"api_key", "it is a member of the provider"},
     {"azure_ad_token", "entra is a member of the provider"},
     {"api_type", "type is a member of the provider"},
     {"custom_llm_provider", "type is a member of the provider"},
     {"api_version", "it is a member of the provider"},
     {"deployment_id", "model of the agent names the deployment"},
     {"model_list", "models is a member of the provider"},
     {"headers", "it is a member of the provider"},
     {"extra_headers", "headers is a member of the provider"},
     {"default_headers", "headers is a member of the provider"},
     {"organization", "headers of the provider has OpenAI-Organization"},
     {"extra_body", "its members go into model_settings themselves"},
     {"extra_query", "there is nothing in its place"}}};

static_assert(std::all_of(chat::kDestinationFields.begin(), chat::kDestinationFields.end(), [](std::string_view field) {
    return std::any_of(kNoEffect.begin(), kNoEffect.end(), [field](auto const& entry) { return entry.first == field; });
}));

Names known_names() {
    Names out;
    auto const add = [&out](auto const& names) { out.insert(out.end(), std::begin(names), std::end(names)); };
    add(kFlags);
    add(kTexts);
    add(kObjects);
    add(kOfProviders);
    for (auto const& [name, bounds] : kNumbers)
        out.push_back(name);
    for (auto const& setting : chat::kIntegerSettings)
        out.push_back(setting.name);
    return out;
}

void check_word(ObjectReader const& settings, std::string_view key, std::span<std::string_view const> words) {
    auto const word = settings.text(key); // nothing while a variable is missing
    if (!word || std::find(words.begin(), words.end(), *word) != words.end()) return;
    settings.fault(key, in_quotes(settings.written(key)), joined(words), did_you_mean(*word, words));
}

// How many there may be, each provider decides.
void check_stop(ObjectReader const& settings) {
    auto const* stop = settings.find("stop");
    if (stop == nullptr || stop->is_string()) return;
    if (stop->is_array()) {
        settings.texts("stop");
    } else {
        settings.fault("stop", std::string(describe_type(*stop)), "a string or an array of strings");
    }
}

void check_logit_bias(ObjectReader const& settings) {
    auto const* object = settings.object("logit_bias");
    if (object == nullptr) return;
    std::vector<std::string> none; // there are no strings in it
    ObjectReader const inner(settings.scope(), *object, join_pointer(settings.pointer(), "logit_bias"), none);
    for (auto const& member : *object)
        inner.number_within({member.key().data(), member.key().size()}, chat::kLogitBias.min, chat::kLogitBias.max);
}

void check_user(ObjectReader const& settings) {
    auto const* user = settings.find("user");
    if (user == nullptr || user->is_string() || user->is_object()) return;
    settings.fault("user", std::string(describe_type(*user)), "a string or an object");
}

void warn_of_names(ObjectReader const& settings, std::string const& whose) {
    auto const known = known_names();
    for (auto const& member : settings.object()) {
        std::string_view const name(member.key().data(), member.key().size());
        if (!settings.has(name)) continue; // null
        auto const begin = whose + ": model_settings: " + in_quotes(name);
        auto const* const no_effect =
            std::find_if(kNoEffect.begin(), kNoEffect.end(), [name](auto const& entry) { return entry.first == name; });
        if (no_effect != kNoEffect.end()) {
            settings.scope().warnings.push_back(begin + " has no effect: " + std::string(no_effect->second));
            continue;
        }
        if (std::find(known.begin(), known.end(), name) != known.end()) continue;
        if (auto const hint = did_you_mean(name, known); !hint.empty())
            settings.scope().warnings.push_back(begin + " is not known here; " + hint);
    }
}

void check_values(ObjectReader const& settings) {
    for (auto const& setting : chat::kIntegerSettings)
        settings.integer(setting.name, setting.min, setting.max);
    for (auto const& [name, bounds] : kNumbers)
        settings.number_within(name, bounds.min, bounds.max);
    for (auto const name : kFlags)
        settings.boolean(name);
    for (auto const name : kTexts)
        settings.text(name);
    for (auto const name : kObjects)
        settings.object(name);
    check_word(settings, "reasoning_effort", chat::kReasoningEfforts);
    check_word(settings, "verbosity", chat::kVerbosities);
    settings.texts("modalities");
    check_stop(settings);
    check_logit_bias(settings);
    check_user(settings);
}

} // namespace

void check_model_settings(FileScope const& scope, json::object const& object, std::string const& pointer,
                          std::vector<std::string>& unset, std::string const& whose) {
    std::vector<Fault> found;
    FileScope aside{scope.file, scope.lookup, found, scope.warnings};
    ObjectReader const settings(aside, object, pointer, unset);
    check_values(settings);
    warn_of_names(settings, whose);
    for (auto const& fault : found) {
        scope.warnings.push_back(whose + ": model_settings: " + fault.pointer.substr(pointer.size() + 1) + " is " +
                                 fault.found + ", and OpenAI takes " + fault.allowed + "; it is sent as it is");
    }
}

} // namespace parley::agents

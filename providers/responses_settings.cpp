// The translation table of the Responses dialect: which chat setting goes where.
// Pure; runs on the loop of the request.
#include "providers/responses_settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

namespace parley::providers {

namespace {

using Named = std::pair<std::string_view, std::string_view>;

constexpr std::int64_t kOutputTokensMin = 16; // the API refuses less

constexpr std::array<std::string_view, 14> kPassed{"temperature",
                                                   "top_p",
                                                   "metadata",
                                                   "user",
                                                   "safety_identifier",
                                                   "prompt_cache_key",
                                                   "prompt_cache_retention",
                                                   "prompt_cache_options",
                                                   "service_tier",
                                                   "truncation",
                                                   "max_tool_calls",
                                                   "context_management",
                                                   "top_logprobs",
                                                   "moderation"};

void put(std::vector<Named>& into, std::string_view name, std::string_view json) {
    auto const found =
        std::find_if(into.begin(), into.end(), [name](Named const& named) { return named.first == name; });
    if (found == into.end()) {
        into.emplace_back(name, json);
    } else {
        found->second = json;
    }
}

void write_named(ObjectText& request, std::string_view name, std::vector<Named> const& members) {
    if (members.empty()) return;
    ObjectText object(request.name(name));
    for (auto const& [member, json] : members)
        object.raw(member, json);
    object.close();
}

core::Error unsupported(std::string_view name, std::string_view why) {
    return core::make_error(
        core::Errc::kUnsupportedValue,
        fmt::format("'{}' is not possible with the Responses API that this agent's provider speaks: {}.", name, why),
        std::string(name));
}

std::optional<core::Error> refusal(std::string_view name, std::string_view json) {
    if (name == "n" && read_integer(json) != 1) return unsupported(name, "it answers once per request");
    if (name == "stop" && !is_empty_json(json))
        return unsupported(name, "it has no stop sequences; a provider of type azure_openai_cc has");
    if (name == "logit_bias" && !is_empty_json(json))
        return unsupported(name, "it has no such setting; a provider of type azure_openai_cc has");
    if (name == "modalities" && json.find("\"audio\"") != std::string_view::npos)
        return unsupported(name, "it answers in text only");
    if (name == "web_search_options") return unsupported(name, "it searches by tools only");
    if ((name == "functions" || name == "function_call") && !is_empty_json(json))
        return unsupported(name, "send 'tools' and 'tool_choice' instead");
    return std::nullopt;
}

class SettingsReader {
public:
    SettingsReader(bool has_tools, bool keep_reasoning) : has_tools_(has_tools), keep_reasoning_(keep_reasoning) {}

    core::Result<> add(std::string_view name, std::string_view json);
    void write(ObjectText& request) const;

private:
    core::Result<> add_object(std::vector<Named>& into, std::string_view json);
    core::Result<> add_response_format(std::string_view json);

    bool const has_tools_;
    bool const keep_reasoning_;
    JsonSlicer slicer_;
    std::vector<Named> passed_;
    std::vector<Named> reasoning_;
    std::vector<Named> text_;
    std::string_view output_tokens_;
    std::string_view include_; // an array's inside
    bool logprobs_ = false;
    std::string format_; // text_ points into it
};

core::Result<> SettingsReader::add(std::string_view name, std::string_view json) {
    if (auto refused = refusal(name, json)) return std::move(*refused);
    if (setting_meaning(name) == "max_completion_tokens") {
        output_tokens_ = json;
    } else if (name == "reasoning_effort") {
        put(reasoning_, "effort", json);
    } else if (name == "reasoning" && is_object(json)) {
        return add_object(reasoning_, json);
    } else if (name == "verbosity") {
        put(text_, "verbosity", json);
    } else if (name == "text" && is_object(json)) {
        return add_object(text_, json);
    } else if (name == "response_format") {
        return add_response_format(json);
    } else if (name == "logprobs") {
        logprobs_ = json == "true";
    } else if (name == "include" && is_array(json)) {
        include_ = is_empty_json(json) ? std::string_view{} : json.substr(1, json.size() - 2);
    } else if (name == "parallel_tool_calls") {
        if (has_tools_) put(passed_, name, json);
    } else if (std::find(kPassed.begin(), kPassed.end(), name) != kPassed.end()) {
        put(passed_, name, json);
    }
    return {};
}

core::Result<> SettingsReader::add_object(std::vector<Named>& into, std::string_view json) {
    auto const members = slicer_.members(json);
    if (!members) return members.error();
    for (auto const& member : *members) {
        bool const known = &into == &text_ ? member.name == "format" || member.name == "verbosity"
                                           : member.name == "effort" || member.name == "summary" ||
                                                 member.name == "context" || member.name == "mode";
        if (known && member.json != "null") put(into, member.name, member.json);
    }
    return {};
}

core::Result<> SettingsReader::add_response_format(std::string_view json) {
    auto const members = slicer_.members(json);
    if (!members) return members.error();
    std::string_view const nested = find_member(*members, "json_schema");
    if (!is_object(nested)) { // text, json_object: the same in both APIs
        put(text_, "format", json);
        return {};
    }
    auto const schema = slicer_.members(nested);
    if (!schema) return schema.error();
    format_.clear();
    ObjectText format(format_);
    format.text("type", "json_schema");
    for (auto const& member : *schema) {
        if (member.name != "type" && member.json != "null") format.raw(member.name, member.json);
    }
    format.close();
    put(text_, "format", format_);
    return {};
}

void SettingsReader::write(ObjectText& request) const {
    for (auto const& [name, json] : passed_) {
        if (name == "top_logprobs" && !logprobs_) continue; // chat ignores it without logprobs, this API would not
        request.raw(name, json);
    }
    if (!output_tokens_.empty()) {
        auto const tokens = read_integer(output_tokens_);
        request.raw("max_output_tokens", tokens && *tokens < kOutputTokensMin ? std::to_string(kOutputTokensMin)
                                                                              : std::string(output_tokens_));
    }
    write_named(request, "reasoning", reasoning_);
    write_named(request, "text", text_);
    constexpr std::string_view kReasoning = R"("reasoning.encrypted_content")";
    bool const add_reasoning = keep_reasoning_ && include_.find(kReasoning) == std::string_view::npos;
    if (!logprobs_ && !add_reasoning && include_.empty()) return;
    std::string list(include_);
    if (logprobs_) list.append(list.empty() ? "" : ",").append(R"("message.output_text.logprobs")");
    if (add_reasoning) list.append(list.empty() ? "" : ",").append(kReasoning);
    request.name("include").append("[").append(list).append("]");
}

} // namespace

bool is_reasoning_model(std::string_view name) noexcept {
    if (name.find("chat") != std::string_view::npos) return false; // gpt-5-chat does not
    bool const is_o = name.size() >= 2 && name[0] == 'o' && name[1] >= '1' && name[1] <= '9';
    return is_o || name.starts_with("gpt-5") || name.starts_with("gpt5") || name.starts_with("codex");
}

core::Result<> write_responses_settings(ObjectText& request, std::span<DefaultSetting const> defaults,
                                        std::span<chat::Setting const> settings, bool has_tools, bool keep_reasoning) {
    SettingsReader reader(has_tools, keep_reasoning);
    for (auto const& setting : merge_settings(defaults, settings)) {
        auto const added = reader.add(setting.name, setting.json);
        if (!added) return added.error();
    }
    reader.write(request);
    return {};
}

} // namespace parley::providers

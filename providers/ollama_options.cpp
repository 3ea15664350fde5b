// The translation tables of the Ollama dialect.
// Pure; runs on the loop of the request.
#include "providers/ollama_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

namespace parley::providers {

namespace {

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) noexcept {
    return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_sampling_option(std::string_view name) noexcept {
    return is_one_of(name, {"temperature", "top_p", "top_k", "min_p", "typical_p", "tfs_z", "seed", "stop",
                            "presence_penalty", "frequency_penalty", "repeat_penalty", "repeat_last_n", "num_ctx",
                            "num_predict", "num_keep", "mirostat", "mirostat_eta", "mirostat_tau", "penalize_newline"});
}

bool is_loading_option(std::string_view name) noexcept {
    return is_one_of(name, {"num_gpu", "main_gpu", "num_thread", "num_batch", "use_mmap", "use_mlock", "numa",
                            "low_vram", "draft_num_predict"});
}

bool is_top_level(std::string_view name) noexcept {
    return is_one_of(name, {"keep_alive", "truncate", "shift", "logprobs", "top_logprobs"});
}

/// The words of reasoning_effort in Ollama's. Models without levels read any level as true; gpt-oss reads only levels.
std::string_view think_of_effort(std::string_view effort) noexcept {
    std::string_view const word = string_body(effort);
    if (word == "none") return "false";
    if (word == "minimal" || word == "low") return R"("low")";
    if (word == "medium") return R"("medium")";
    if (word == "high") return R"("high")";
    if (word == "xhigh" || word == "max") return R"("max")";
    return {};
}

core::Error unsupported(std::string_view name, std::string_view why) {
    return core::make_error(core::Errc::kUnsupportedValue,
                            fmt::format("'{}' is not possible with Ollama: {}.", name, why), std::string(name));
}

class SettingsReader {
public:
    core::Result<> add(MergedSetting const& setting);
    void write(ObjectText& request) const;

private:
    using Named = std::pair<std::string_view, std::string_view>;

    core::Result<> add_options(std::string_view options, bool is_agents);
    core::Result<> add_response_format(std::string_view format);
    static void put(std::vector<Named>& into, std::string_view name, std::string_view json);
    static std::optional<core::Error> refusal(MergedSetting const& setting);

    JsonSlicer slicer_;
    std::vector<Named> options_;
    std::vector<Named> top_level_;
    std::string_view think_;
    std::string_view format_;
};

void SettingsReader::put(std::vector<Named>& into, std::string_view name, std::string_view json) {
    auto const found =
        std::find_if(into.begin(), into.end(), [name](Named const& named) { return named.first == name; });
    if (found == into.end()) {
        into.emplace_back(name, json);
    } else {
        found->second = json;
    }
}

std::optional<core::Error> SettingsReader::refusal(MergedSetting const& setting) {
    if (setting.name == "n" && read_integer(setting.json) != 1) return unsupported("n", "it answers once per request");
    if (setting.name == "logit_bias" && !is_empty_json(setting.json))
        return unsupported("logit_bias", "it has no such setting");
    if (setting.name == "modalities" && setting.json.find("\"audio\"") != std::string_view::npos)
        return unsupported("modalities", "it answers in text only");
    if (setting.name == "web_search_options") return unsupported("web_search_options", "it does not search the web");
    return std::nullopt;
}

core::Result<> SettingsReader::add(MergedSetting const& setting) {
    auto const& [name, json, is_agents] = setting;
    if (auto refused = refusal(setting)) return std::move(*refused);
    if (setting_meaning(name) == "max_completion_tokens") {
        put(options_, "num_predict", json);
    } else if (is_sampling_option(name) || (is_agents && is_loading_option(name))) {
        put(options_, name, json);
    } else if (is_top_level(name)) {
        put(top_level_, name, json);
    } else if (name == "think") {
        think_ = json;
    } else if (name == "reasoning_effort") {
        think_ = think_of_effort(json);
    } else if (name == "reasoning" && is_object(json)) {
        auto const members = slicer_.members(json);
        if (!members) return members.error();
        if (auto const effort = find_member(*members, "effort"); !effort.empty()) think_ = think_of_effort(effort);
    } else if (name == "format") {
        format_ = json;
    } else if (name == "response_format") {
        return add_response_format(json);
    } else if (name == "options" && is_object(json)) {
        return add_options(json, is_agents);
    }
    return {};
}

core::Result<> SettingsReader::add_options(std::string_view options, bool is_agents) {
    auto const members = slicer_.members(options);
    if (!members) return members.error();
    for (auto const& member : *members) {
        bool const known = is_sampling_option(member.name) || is_loading_option(member.name);
        bool const allowed = is_agents || is_sampling_option(member.name);
        if (known && allowed && member.json != "null") put(options_, member.name, member.json);
    }
    return {};
}

core::Result<> SettingsReader::add_response_format(std::string_view format) {
    auto const members = slicer_.members(format);
    if (!members) return members.error();
    std::string_view const type = string_body(find_member(*members, "type"));
    if (type == "json_object") {
        format_ = R"("json")";
    } else if (type == "json_schema") {
        auto const named = slicer_.members(find_member(*members, "json_schema"));
        if (!named) return named.error();
        std::string_view const schema = find_member(*named, "schema");
        format_ = schema.empty() ? std::string_view(R"("json")") : schema;
    } else {
        format_ = {};
    }
    return {};
}

void SettingsReader::write(ObjectText& request) const {
    for (auto const& [name, json] : top_level_)
        request.raw(name, json);
    if (!think_.empty()) request.raw("think", think_);
    if (!format_.empty()) request.raw("format", format_);
    if (options_.empty()) return;
    ObjectText options(request.name("options"));
    for (auto const& [name, json] : options_) {
        bool const one_stop = name == "stop" && is_string(json); // Ollama takes a list only
        std::string& value = options.name(name);
        if (one_stop) value += '[';
        value += json;
        if (one_stop) value += ']';
    }
    options.close();
}

/// Which tools a tool_choice leaves to the model.
class ToolFilter {
public:
    core::Result<> read(std::string_view tool_choice);
    bool allows(std::string_view name) const {
        return !only_ || std::find(only_->begin(), only_->end(), name) != only_->end();
    }
    bool allows_all() const noexcept { return !only_; }

private:
    core::Result<> add_function(std::string_view tool);

    JsonSlicer slicer_;
    std::optional<std::vector<std::string_view>> only_; // string bodies
};

core::Result<> ToolFilter::add_function(std::string_view tool) {
    auto const members = slicer_.members(tool);
    if (!members) return members.error();
    std::string_view const function = find_member(*members, "function");
    if (!is_object(function)) {
        only_->push_back(string_body(find_member(*members, "name"))); // the flat form of the Responses API
        return {};
    }
    auto const named = slicer_.members(function);
    if (!named) return named.error();
    only_->push_back(string_body(find_member(*named, "name")));
    return {};
}

core::Result<> ToolFilter::read(std::string_view tool_choice) {
    if (tool_choice == R"("none")") only_.emplace();
    if (!is_object(tool_choice)) return {};
    auto const members = slicer_.members(tool_choice);
    if (!members) return members.error();
    only_.emplace();
    if (string_body(find_member(*members, "type")) != "allowed_tools") return add_function(tool_choice);

    std::string_view const nested = find_member(*members, "allowed_tools");
    auto const allowed = nested.empty() ? members : slicer_.members(nested);
    if (!allowed) return allowed.error();
    auto const tools = slicer_.elements(find_member(*allowed, "tools"));
    if (!tools) return tools.error();
    for (std::string_view const tool : *tools) {
        auto const added = add_function(tool);
        if (!added) return added.error();
    }
    return {};
}

/// Appends those of `tools` that may be used, each with a comma before it but the first of `out`.
core::Result<> append_tools(std::string& out, std::string_view tools, ToolFilter const& filter) {
    if (is_empty_json(tools)) return {};
    JsonSlicer slicer;
    auto const elements = slicer.elements(tools);
    if (!elements) return elements.error();
    for (std::string_view const tool : *elements) {
        if (!filter.allows_all()) {
            auto const members = slicer.members(tool);
            if (!members) return members.error();
            auto const function = slicer.members(find_member(*members, "function"));
            if (!function) return function.error();
            if (!filter.allows(string_body(find_member(*function, "name")))) continue;
        }
        if (!out.empty()) out += ',';
        out += tool;
    }
    return {};
}

} // namespace

core::Result<> write_ollama_settings(ObjectText& request, std::span<DefaultSetting const> defaults,
                                     std::span<chat::Setting const> settings) {
    SettingsReader reader; // what comes later wins, each name by itself: also the members of two `options`
    for (auto const& own : defaults) {
        auto const added = reader.add({own.name, own.json, true});
        if (!added) return added.error();
    }
    for (auto const& setting : settings) {
        if (setting.json == "null") continue;
        auto const added = reader.add({setting.name, setting.json, false});
        if (!added) return added.error();
    }
    reader.write(request);
    return {};
}

core::Result<> write_ollama_tools(ObjectText& request, std::string_view agent_tools, std::string_view client_tools,
                                  std::string_view tool_choice) {
    ToolFilter filter;
    auto const read = filter.read(tool_choice);
    if (!read) return read.error();
    std::string tools;
    for (std::string_view const list : {agent_tools, client_tools}) {
        auto const added = append_tools(tools, list, filter);
        if (!added) return added.error();
    }
    if (tools.empty()) return {};
    std::string& value = request.name("tools");
    value += '[';
    value += tools;
    value += ']';
    return {};
}

} // namespace parley::providers

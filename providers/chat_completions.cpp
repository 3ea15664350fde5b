// The encoder of the OpenAI chat-completions family: one pass that appends slices to one string.
// Pure translation, no I/O. Field names: OpenAI's API reference, POST /chat/completions.
// Everything here is immutable or belongs to one model call.
#include "providers/chat_completions.hpp"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "chat/destination_fields.hpp"
#include "core/json.hpp"
#include "providers/json_text.hpp"

namespace parley::providers {

namespace {

using namespace std::string_view_literals;

/// What the encoder writes itself.
constexpr std::array kWritten{"messages"sv, "model"sv, "stream"sv, "stream_options"sv, "tools"sv};

/// The request fields of OpenAI's API reference but those that the encoder writes; the last two are Azure's.
constexpr std::array kKnownFields{"audio"sv,
                                  "frequency_penalty"sv,
                                  "function_call"sv,
                                  "functions"sv,
                                  "logit_bias"sv,
                                  "logprobs"sv,
                                  "max_completion_tokens"sv,
                                  "max_tokens"sv,
                                  "metadata"sv,
                                  "modalities"sv,
                                  "moderation"sv,
                                  "n"sv,
                                  "parallel_tool_calls"sv,
                                  "prediction"sv,
                                  "presence_penalty"sv,
                                  "prompt_cache_key"sv,
                                  "prompt_cache_options"sv,
                                  "prompt_cache_retention"sv,
                                  "reasoning_effort"sv,
                                  "response_format"sv,
                                  "safety_identifier"sv,
                                  "seed"sv,
                                  "service_tier"sv,
                                  "stop"sv,
                                  "store"sv,
                                  "temperature"sv,
                                  "top_logprobs"sv,
                                  "top_p"sv,
                                  "user"sv,
                                  "verbosity"sv,
                                  "web_search_options"sv,
                                  "data_sources"sv,
                                  "user_security_context"sv};

/// The members of a message in OpenAI's API reference.
constexpr std::array kKnownMessageMembers{"role"sv,         "content"sv,       "name"sv,    "tool_calls"sv,
                                          "tool_call_id"sv, "function_call"sv, "refusal"sv, "audio"sv};

template <class List>
bool contains(List const& list, std::string_view name) {
    return std::find(list.begin(), list.end(), name) != list.end();
}

/// One setting of the agent, as it is sent.
struct PreparedSetting {
    std::string name;   // as it is sent
    std::string member; // ,"name":value
};

struct PreparedChat final : PreparedModel {
    std::string model;
    std::string head; // {"model":…,"messages":[ and the system prompt
    bool has_system = false;
    std::vector<PreparedSetting> settings;
    std::string tools;       // the elements of the array, without brackets
    std::string tool_choice; // JSON, empty = none
};

bool is_max_tokens(std::string_view name) {
    return name == "max_tokens" || name == "max_completion_tokens";
}

std::string_view sent_name(std::string_view name, FamilyRules const& rules) {
    return is_max_tokens(name) ? rules.max_tokens_name : name;
}

/// The elements of a JSON array, without its brackets and the white space around them.
std::string_view array_elements(std::string_view array) {
    constexpr std::string_view kSpace = " \t\r\n";
    std::size_t const begin = array.find_first_not_of(kSpace);
    std::size_t const end = array.find_last_not_of(kSpace);
    if (begin == std::string_view::npos || end - begin < 2) return {};
    array = array.substr(begin + 1, end - begin - 1);
    std::size_t const first = array.find_first_not_of(kSpace);
    if (first == std::string_view::npos) return {};
    return array.substr(first, array.find_last_not_of(kSpace) - first + 1);
}

/// The message without the members that OpenAI refuses (reasoning_content and the like, which clients send back).
void append_known_members(std::string& out, chat::Message const& message, bool as_system, JsonSlicer& slicer) {
    auto const members = slicer.members(message.json);
    if (!members) { // cannot be: the request was checked; then the provider has to judge
        out += message.json;
        return;
    }
    ObjectText object(out);
    for (auto const& member : *members) {
        if (!contains(kKnownMessageMembers, member.name)) continue;
        object.raw(member.name, as_system && member.name == "role" ? R"("system")"sv : member.json);
    }
    object.close();
}

bool becomes_system(chat::Message const& message, FamilyRules const& rules) noexcept {
    return message.role == chat::Role::kDeveloper && !rules.developer_role;
}

bool loses_members(chat::Message const& message, FamilyRules const& rules) noexcept {
    if (message.plain) return false;
    // Of another provider's API (responses_items.cpp), in a run that has turned to this one.
    bool const foreign =
        message.role == chat::Role::kAssistant && message.json.find(R"("reasoning_items")") != std::string_view::npos;
    return rules.known_fields_only || foreign;
}

void append_message(std::string& out, chat::Message const& message, FamilyRules const& rules, JsonSlicer& slicer) {
    bool const as_system = becomes_system(message, rules);
    if (loses_members(message, rules)) {
        append_known_members(out, message, as_system, slicer);
    } else if (as_system && !message.role_json.empty()) {
        std::size_t const at = static_cast<std::size_t>(message.role_json.data() - message.json.data());
        out += message.json.substr(0, at);
        out += R"("system")";
        out += message.json.substr(at + message.role_json.size());
    } else {
        out += message.json;
    }
}

bool is_never_sent(std::string_view setting) {
    return contains(kWritten, setting) || chat::is_destination_field(setting);
}

/// Whether a setting of the request is sent, all but its being overruled by another one.
bool is_sent(chat::Setting const& setting, chat::Turn const& turn, bool has_tools, FamilyRules const& rules) {
    if (setting.json == "null" || is_never_sent(setting.name) || contains(rules.dropped, setting.name)) return false;
    if (setting.name == "tool_choice") return false;
    if (setting.name == "parallel_tool_calls" && !has_tools) return false; // refused by OpenAI without tools
    auto const request_has = [&](std::string_view name, std::string_view json) {
        return std::any_of(turn.settings.begin(), turn.settings.end(), [&](chat::Setting const& other) {
            return other.name == name && (json.empty() ? other.json != "null" : other.json == json);
        });
    };
    if (setting.name == "max_tokens" && request_has("max_completion_tokens", {})) return false;
    if (!rules.known_fields_only) return true;
    if (setting.name == "user" && !setting.json.starts_with('"')) return false; // Open WebUI may send an object
    if (setting.name == "metadata") return request_has("store", "true");        // refused by OpenAI otherwise
    return contains(kKnownFields, setting.name);
}

void append_settings(std::string& out, PreparedChat const& prepared, chat::Turn const& turn, bool has_tools,
                     FamilyRules const& rules) {
    auto const sent = [&](chat::Setting const& setting) { return is_sent(setting, turn, has_tools, rules); };
    for (auto const& setting : prepared.settings) {
        if (setting.name == "parallel_tool_calls" && !has_tools) continue;
        bool const overridden = std::any_of(turn.settings.begin(), turn.settings.end(), [&](chat::Setting const& own) {
            return sent_name(own.name, rules) == setting.name && sent(own);
        });
        if (!overridden) out += setting.member;
    }
    for (auto const& setting : turn.settings) {
        if (!sent(setting)) continue;
        out += ",\"";
        out += sent_name(setting.name, rules);
        out += "\":";
        out += setting.json;
    }
}

void append_tools(std::string& out, PreparedChat const& prepared, std::string_view client_tools,
                  std::string_view choice) {
    out += R"(,"tools":[)";
    out += prepared.tools;
    if (!prepared.tools.empty() && !client_tools.empty()) out += ',';
    out += client_tools;
    out += ']';
    if (choice.empty()) choice = prepared.tool_choice;
    if (choice.empty() || choice == "null") return;
    out += R"(,"tool_choice":)";
    out += choice;
}

constexpr std::size_t kSliceBytesMin = 4 * 1024; // copying less costs less than another piece to send

/// Messages that stand one behind the other in one text and are sent as they are.
struct Run {
    std::size_t first = 0;
    std::size_t end = 0; // behind the last
    std::string_view text = {};
};

/// The longest one, if it is long enough not to be copied.
Run run_to_slice(std::span<chat::Message const> messages, FamilyRules const& rules) {
    Run longest;
    Run run;
    for (std::size_t i = 0; i < messages.size(); ++i) {
        auto const& message = messages[i];
        if (becomes_system(message, rules) || loses_members(message, rules)) {
            run = {};
            continue;
        }
        auto const* const end = message.json.data() + message.json.size();
        if (run.text.empty() || message.follows != run.text.data() + run.text.size()) run = {i, i, message.json};
        run.end = i + 1;
        run.text = {run.text.data(), static_cast<std::size_t>(end - run.text.data())};
        if (run.text.size() > longest.text.size()) longest = run;
    }
    return longest.text.size() < kSliceBytesMin ? Run{} : longest;
}

std::size_t size_estimate(PreparedChat const& prepared, chat::Turn const& turn, Run const& slice) {
    std::size_t size = prepared.head.size() + prepared.tools.size() + turn.tools.size() + turn.tool_choice.size() + 256;
    for (std::size_t i = 0; i < turn.messages.size(); ++i)
        if (i < slice.first || i >= slice.end) size += turn.messages[i].json.size() + 8;
    for (auto const& setting : prepared.settings)
        size += setting.member.size();
    for (auto const& setting : turn.settings)
        size += setting.name.size() + setting.json.size() + 32;
    return size;
}

} // namespace

std::unique_ptr<PreparedModel const> prepare_chat(ModelSpec const& spec, FamilyRules const& rules) {
    auto prepared = std::make_unique<PreparedChat>();
    prepared->model = spec.model;
    prepared->head = R"({"model":)";
    core::append_json_string(prepared->head, spec.model);
    prepared->head += R"(,"messages":[)";
    prepared->has_system = !spec.system_prompt.empty();
    if (prepared->has_system) {
        prepared->head += R"({"role":"system","content":)";
        core::append_json_string(prepared->head, spec.system_prompt);
        prepared->head += '}';
    }
    prepared->tools = array_elements(spec.tools);

    bool const has_new_name = spec.settings.contains("max_completion_tokens");
    for (auto const& member : spec.settings) {
        std::string_view const name(member.key().data(), member.key().size());
        if (member.value().is_null() || is_never_sent(name) || (name == "max_tokens" && has_new_name)) continue;
        if (name == "tool_choice") {
            prepared->tool_choice = boost::json::serialize(member.value());
            continue;
        }
        PreparedSetting setting{std::string(sent_name(name, rules)), ","};
        core::append_json_string(setting.member, setting.name);
        setting.member += ':';
        setting.member += boost::json::serialize(member.value());
        prepared->settings.push_back(std::move(setting));
    }
    return prepared;
}

EncodedRequest encode_chat(std::string path, PreparedModel const& model, chat::Turn const& turn,
                           FamilyRules const& rules) {
    auto const& prepared = static_cast<PreparedChat const&>(model);
    auto const slice = run_to_slice(turn.messages, rules);
    EncodedRequest request{std::move(path), {}, slice.text, {}};
    auto const size = size_estimate(prepared, turn, slice);
    request.body.reserve(size);
    request.body += prepared.head;
    bool first = !prepared.has_system;
    JsonSlicer slicer;
    auto const append_messages = [&](std::string& out, std::size_t from, std::size_t end) {
        for (auto const& message : turn.messages.subspan(from, end - from)) {
            if (!std::exchange(first, false)) out += ',';
            append_message(out, message, rules, slicer);
        }
    };
    append_messages(request.body, 0, slice.first);
    if (!slice.text.empty()) {
        if (!std::exchange(first, false)) request.body += ',';
        request.tail.reserve(size - request.body.size());
    }
    auto& out = slice.text.empty() ? request.body : request.tail;
    append_messages(out, slice.end, turn.messages.size());
    out += ']';

    std::string_view const client_tools = array_elements(turn.tools);
    bool const has_tools = !prepared.tools.empty() || !client_tools.empty();
    append_settings(out, prepared, turn, has_tools, rules);
    if (has_tools) append_tools(out, prepared, client_tools, turn.tool_choice);
    out += turn.stream ? R"(,"stream":true)"sv : R"(,"stream":false)"sv;
    if (turn.stream && !rules.stream_options.empty()) {
        out += R"(,"stream_options":)";
        out += rules.stream_options;
    }
    out += '}';
    return request;
}

std::string_view prepared_model_name(PreparedModel const& model) {
    return static_cast<PreparedChat const&>(model).model;
}

std::string embeddings_body(std::string_view model, std::string_view body_rest) {
    std::string body = R"({"model":)";
    core::append_json_string(body, model);
    if (!body_rest.empty()) body += ',';
    body += body_rest;
    body += '}';
    return body;
}

} // namespace parley::providers

// The whole answer of chat completions as one object, and the parts that a streamed one shares with it.
// Owned by the request's handler, used on its loop only.
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "core/append.hpp"
#include "core/json.hpp"
#include "server/chat_writer.hpp"
#include "server/chat_writer_parts.hpp"

namespace parley::server {
namespace {

// Appends the elements of the JSON array `more` to those of `joined` (elements with commas, no brackets).
void join_elements(std::string& joined, std::string_view more) {
    more = core::strip_quotes(more); // brackets here
    if (more.find_first_not_of(" \t\r\n") == more.npos) return;
    if (!joined.empty()) joined += ',';
    joined += more;
}

// The `key` array of each logprobs object, as one array; null when none has one.
std::string joined_logprobs(std::vector<std::string> const& logprobs, std::string_view key) {
    std::string joined;
    bool found = false;
    simdjson::ondemand::parser parser;
    for (auto const& json : logprobs) {
        simdjson::padded_string const padded(json);
        simdjson::ondemand::document document;
        simdjson::ondemand::array array;
        std::string_view elements;
        if (parser.iterate(padded).get(document) || document[key].get_array().get(array)) continue;
        if (array.raw_json().get(elements)) continue;
        found = true;
        join_elements(joined, elements.substr(0, elements.rfind(']') + 1));
    }
    return found ? "[" + joined + "]" : "null";
}

void append_quoted(std::string& out, std::string_view name, std::string_view body) {
    out.append(name).append("\"").append(body).append("\"");
}

} // namespace

void append_reply_head(std::string& out, ChatReplyHead const& head, std::string_view object) {
    out += R"({"id":)";
    core::append_json_string(out, head.id);
    core::append(out, R"(,"object":")", object, R"(","created":)", head.created, R"(,"model":)");
    core::append_json_string(out, head.model);
}

void append_model_fields(std::string& out, std::string_view system_fingerprint, std::string_view service_tier) {
    if (!system_fingerprint.empty()) append_quoted(out, R"(,"system_fingerprint":)", system_fingerprint);
    if (!service_tier.empty()) append_quoted(out, R"(,"service_tier":)", service_tier);
}

void append_usage(std::string& out, chat::UsageReport const& report) {
    auto const& usage = report.usage;
    core::append(out, R"({"prompt_tokens":)", usage.prompt_tokens, R"(,"completion_tokens":)", usage.completion_tokens,
                 R"(,"total_tokens":)", usage.total_tokens());
    core::append(out, R"(,"prompt_tokens_details":{"cached_tokens":)", usage.cached_tokens, R"(,"cache_write_tokens":)",
                 usage.cache_write_tokens);
    core::append(out, R"(},"completion_tokens_details":{"reasoning_tokens":)", usage.reasoning_tokens, '}');
    if (usage.cost_usd && std::isfinite(*usage.cost_usd)) {
        fmt::format_to(std::back_inserter(out), R"(,"cost":{})", *usage.cost_usd); // OpenRouter's name for it
    }
    if (auto const& agent = report.agent) {
        core::append(out, R"(,"agent":{"llm_calls":)", agent->llm_calls, R"(,"tool_rounds":)", agent->tool_rounds);
        core::append(out, R"(,"tool_calls_requested":)", agent->tool_calls_requested, R"(,"tool_calls_executed":)",
                     agent->tool_calls_executed, R"(,"tool_calls_failed":)", agent->tool_calls_failed);
        core::append(out, R"(,"last_prompt_tokens":)", agent->last_prompt_tokens, R"(,"stop_reason":")",
                     chat::stop_reason_name(agent->stop_reason), R"("})");
    }
    out += '}';
}

bool is_own_field(std::string_view name) noexcept {
    constexpr std::string_view own[] = {"role",       "content",       "refusal",  "reasoning_content",
                                        "tool_calls", "function_call", "reasoning"};
    return std::find(std::begin(own), std::end(own), name) != std::end(own) || name.find('\\') != name.npos;
}

ChatJsonWriter::ChatJsonWriter(ChatReplyHead head) : head_(std::move(head)) {
    choices_.resize(static_cast<std::size_t>(std::clamp(head_.choices, 1, kChoicesMax)));
}

// Null for an index that no client could take: its events are dropped.
ChatJsonWriter::Choice* ChatJsonWriter::choice(int index) {
    if (index < 0 || index >= kChoicesMax) return nullptr;
    auto const i = static_cast<std::size_t>(index);
    if (i >= choices_.size()) choices_.resize(i + 1);
    return &choices_[i];
}

void ChatJsonWriter::write(std::span<chat::RunEvent const> events) {
    for (auto const& event : events) {
        std::visit([&](auto const& known) { on(known); }, event);
    }
}

void ChatJsonWriter::on(chat::TextDelta const& delta) {
    auto* const to = choice(delta.choice);
    if (to == nullptr) return;
    to->text += delta.body;
    if (!delta.logprobs.empty() && delta.logprobs != "null") to->logprobs.emplace_back(delta.logprobs);
}

void ChatJsonWriter::on(chat::ReasoningDelta const& delta) {
    if (auto* const to = choice(delta.choice)) to->reasoning += delta.body;
}

void ChatJsonWriter::on(chat::RefusalDelta const& delta) {
    if (auto* const to = choice(delta.choice)) to->refusal += delta.body;
}

void ChatJsonWriter::on(chat::ToolCallDelta const& delta) {
    auto* const to = choice(delta.choice);
    if (to == nullptr || delta.index < 0) return;
    auto const index = static_cast<std::size_t>(delta.index);
    if (index > to->tool_calls.size()) return; // decoders number from 0 without gaps
    if (index == to->tool_calls.size()) to->tool_calls.emplace_back();
    auto& call = to->tool_calls[index];
    if (!delta.id.empty()) call.id = delta.id;
    if (!delta.name.empty()) call.name = delta.name;
    call.arguments += delta.arguments;
}

// Arrays of one name (annotations, images, reasoning_details) are collected; of anything else the last one stands.
void ChatJsonWriter::on(chat::DeltaField const& field) {
    auto* const to = choice(field.choice);
    if (to == nullptr || is_own_field(field.name)) return;
    auto const known =
        std::find_if(to->fields.begin(), to->fields.end(), [&](auto const& each) { return each.first == field.name; });
    if (known == to->fields.end()) {
        to->fields.emplace_back(field.name, field.json);
        return;
    }
    auto& value = known->second;
    if (value.starts_with('[') && field.json.starts_with('[')) {
        std::string joined;
        join_elements(joined, value);
        join_elements(joined, field.json);
        value = "[" + joined + "]";
    } else {
        value = field.json;
    }
}

void ChatJsonWriter::on(chat::ChoiceEnd const& end) {
    if (auto* const to = choice(end.choice)) to->reason = end.reason;
}

void ChatJsonWriter::on(chat::UsageReport const& report) {
    usage_ = report;
}

void ChatJsonWriter::on(chat::ModelReport const& report) {
    if (!report.system_fingerprint.empty()) system_fingerprint_ = report.system_fingerprint;
    if (!report.service_tier.empty()) service_tier_ = report.service_tier;
}

void ChatJsonWriter::append_choice(std::string& out, Choice const& choice, std::size_t index) {
    core::append(out, R"({"index":)", index, R"(,"message":{"role":"assistant")");
    bool const silent = choice.text.empty() && (!choice.tool_calls.empty() || !choice.refusal.empty());
    if (silent) {
        out += R"(,"content":null)";
    } else {
        append_quoted(out, R"(,"content":)", choice.text);
    }
    if (choice.refusal.empty()) {
        out += R"(,"refusal":null)";
    } else {
        append_quoted(out, R"(,"refusal":)", choice.refusal);
    }
    if (!choice.reasoning.empty()) {
        append_quoted(out, R"(,"reasoning_content":)", choice.reasoning);
        append_quoted(out, R"(,"reasoning":)", choice.reasoning);
    }
    for (std::size_t i = 0; i < choice.tool_calls.size(); ++i) {
        auto const& call = choice.tool_calls[i];
        append_quoted(out, i == 0 ? R"(,"tool_calls":[{"id":)" : R"(,{"id":)", call.id);
        append_quoted(out, R"(,"type":"function","function":{"name":)", call.name);
        append_quoted(out, R"(,"arguments":)", call.arguments);
        out += i + 1 == choice.tool_calls.size() ? "}}]" : "}}";
    }
    for (auto const& [name, json] : choice.fields)
        out.append(",\"").append(name).append("\":").append(json);
    out += R"(},"logprobs":)";
    if (choice.logprobs.empty()) {
        out += "null";
    } else if (choice.logprobs.size() == 1) {
        out += choice.logprobs.front();
    } else {
        out.append(R"({"content":)").append(joined_logprobs(choice.logprobs, "content"));
        out.append(R"(,"refusal":)").append(joined_logprobs(choice.logprobs, "refusal")).append("}");
    }
    append_quoted(out, R"(,"finish_reason":)", chat::finish_reason_name(choice.reason));
    out += '}';
}

void ChatJsonWriter::finish(std::string& out) const {
    append_reply_head(out, head_, "chat.completion");
    out += R"(,"choices":[)";
    for (std::size_t i = 0; i < choices_.size(); ++i) {
        if (i != 0) out += ',';
        append_choice(out, choices_[i], i);
    }
    out += ']';
    if (usage_) {
        out += R"(,"usage":)";
        append_usage(out, *usage_);
    }
    append_model_fields(out, system_fingerprint_, service_tier_);
    append_agent(out);
    out += '}';
}

} // namespace parley::server

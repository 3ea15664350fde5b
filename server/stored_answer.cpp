// The members that ChatJsonWriter prints, and no others. Text is not unescaped: events carry it as it stands.
#include "server/stored_answer.hpp"

#include <charconv>
#include <utility>

#include "core/json.hpp"
#include "server/chat_request_walk.hpp"
#include "server/chat_writer_parts.hpp"

namespace parley::server {
namespace {

using core::Result;
using std::string_view;

constexpr std::size_t kDepthMax = 128; // provider values inside it are bounded already

template <class Number>
Number number(string_view json) noexcept {
    Number value{};
    std::from_chars(json.data(), json.data() + json.size(), value);
    return value;
}

// Empty for null, and for what is not a string.
string_view text_body(string_view json) noexcept {
    return json.starts_with('"') ? core::strip_quotes(json) : string_view{};
}

chat::StopReason stop_reason(string_view name) noexcept {
    using enum chat::StopReason;
    for (auto const reason : {kClientTools, kMaxToolRounds, kMaxToolCalls, kTimeout, kMaxTotalTokens}) {
        if (chat::stop_reason_name(reason) == name) return reason;
    }
    return kCompleted;
}

class AnswerReader {
public:
    explicit AnswerReader(StoredAnswer& answer)
        : answer_(answer), readable_end_(answer.json->data() + answer.json->capacity()) {}

    Result<> read() {
        chat::ModelReport model;
        string_view choices;
        string_view usage;
        string_view agent;
        auto const walked = each_member(*answer_.json, [&](string_view key, string_view json) -> Result<> {
            if (key == "id") answer_.head.id = core::json_body_to_text(text_body(json));
            if (key == "model") answer_.head.model = core::json_body_to_text(text_body(json));
            if (key == "created") answer_.head.created = number<std::int64_t>(json);
            if (key == "system_fingerprint") model.system_fingerprint = text_body(json);
            if (key == "service_tier") model.service_tier = text_body(json);
            if (key == "choices") choices = json;
            if (key == "usage") usage = json;
            if (key == "agent") agent = json;
            return {};
        });
        if (!walked) return walked;
        if (answer_.head.id.empty() || choices.empty()) return walk_error();
        answer_.events.emplace_back(model);
        if (auto const tools = read_agent(agent); !tools) return tools;
        answer_.head.choices = 0;
        auto const read = each_element(choices, [this](string_view json) { return read_choice(json); });
        if (!read || usage.empty()) return read;
        return read_usage(usage);
    }

private:
    // visit(key, value): slices of the answer; the key is valid during the call.
    template <class Visit>
    Result<> each_member(string_view json, Visit visit) {
        Walk walk({json, readable_end_});
        auto const object = walk.object();
        if (!object) return object.error();
        return Walk::members(*object, [&](string_view key, od::value& value) { return visit(key, Walk::take(value)); });
    }

    template <class Visit>
    Result<> each_element(string_view json, Visit visit) {
        Walk walk({json, readable_end_});
        auto const array = walk.array();
        if (!array) return array.error();
        return Walk::elements(*array, [&](std::size_t, od::value& value) { return visit(Walk::take(value)); });
    }

    string_view made(std::string text) { return answer_.made.emplace_back(std::move(text)); }
    string_view plain(string_view json) { return made(core::json_body_to_text(text_body(json))); }

    Result<> read_agent(string_view json) {
        if (json.empty()) return {};
        return each_member(json, [this](string_view key, string_view value) -> Result<> {
            if (key != "tool_calls") return {};
            return each_element(value, [this](string_view call) { return read_agent_call(call); });
        });
    }

    Result<> read_agent_call(string_view json) {
        chat::ToolStarted started;
        chat::ToolEnded ended;
        auto const walked = each_member(json, [&](string_view key, string_view value) -> Result<> {
            if (key == "call_id") started.call_id = ended.call_id = plain(value);
            if (key == "name") started.name = ended.name = plain(value);
            if (key == "arguments") started.arguments = plain(value);
            if (key == "result") ended.result = plain(value);
            if (key == "is_error") ended.is_error = value == "true";
            if (key == "duration_ms") ended.duration_ms = number<std::int64_t>(value);
            return {};
        });
        answer_.events.emplace_back(started);
        answer_.events.emplace_back(ended);
        return walked;
    }

    Result<> read_choice(string_view json) {
        auto const index = answer_.head.choices++;
        string_view message;
        string_view logprobs;
        chat::ChoiceEnd end{chat::FinishReason::kStop, index};
        auto const walked = each_member(json, [&](string_view key, string_view value) -> Result<> {
            if (key == "message") message = value;
            if (key == "logprobs" && value != "null") logprobs = value;
            if (key == "finish_reason") end.reason = chat::finish_reason_named(text_body(value));
            return {};
        });
        if (!walked) return walked;
        if (auto const read = read_message(message, logprobs, index); !read) return read;
        answer_.events.emplace_back(end);
        return {};
    }

    // Reasoning goes before text, whatever the order of the members.
    Result<> read_message(string_view json, string_view logprobs, int choice) {
        string_view reasoning;
        string_view content;
        string_view refusal;
        string_view tool_calls;
        std::vector<chat::DeltaField> fields;
        auto const walked = each_member(json, [&](string_view key, string_view value) -> Result<> {
            if (key == "reasoning_content") reasoning = text_body(value);
            if (key == "content") content = text_body(value);
            if (key == "refusal") refusal = text_body(value);
            if (key == "tool_calls") tool_calls = value;
            if (!is_own_field(key)) fields.push_back({made(std::string(key)), value, choice});
            return {};
        });
        if (!walked) return walked;
        auto& events = answer_.events;
        if (!reasoning.empty()) events.emplace_back(chat::ReasoningDelta{reasoning, choice});
        if (!content.empty() || !logprobs.empty()) events.emplace_back(chat::TextDelta{content, logprobs, choice});
        if (!refusal.empty()) events.emplace_back(chat::RefusalDelta{refusal, choice});
        events.insert(events.end(), fields.begin(), fields.end());
        if (tool_calls.empty()) return {};
        int index = 0;
        return each_element(tool_calls, [&](string_view call) { return read_tool_call(call, index++, choice); });
    }

    Result<> read_tool_call(string_view json, int index, int choice) {
        chat::ToolCallDelta delta;
        delta.index = index;
        delta.choice = choice;
        auto const walked = each_member(json, [&](string_view key, string_view value) -> Result<> {
            if (key == "id") delta.id = text_body(value);
            if (key != "function") return {};
            return each_member(value, [&](string_view inner, string_view text) -> Result<> {
                if (inner == "name") delta.name = text_body(text);
                if (inner == "arguments") delta.arguments = text_body(text);
                return {};
            });
        });
        answer_.events.emplace_back(delta);
        return walked;
    }

    Result<> read_usage(string_view json) {
        chat::UsageReport report;
        auto& usage = report.usage;
        auto const take = [&usage](string_view key, string_view value) -> Result<> {
            if (key == "prompt_tokens") usage.prompt_tokens = number<std::int64_t>(value);
            if (key == "completion_tokens") usage.completion_tokens = number<std::int64_t>(value);
            if (key == "cached_tokens") usage.cached_tokens = number<std::int64_t>(value);
            if (key == "cache_write_tokens") usage.cache_write_tokens = number<std::int64_t>(value);
            if (key == "reasoning_tokens") usage.reasoning_tokens = number<std::int64_t>(value);
            if (key == "cost") usage.cost_usd = number<double>(value);
            return {};
        };
        auto const walked = each_member(json, [&](string_view key, string_view value) -> Result<> {
            if (key == "agent") return read_agent_usage(value, report.agent.emplace());
            if (value.starts_with('{')) return each_member(value, take);
            return take(key, value);
        });
        answer_.events.emplace_back(report);
        return walked;
    }

    Result<> read_agent_usage(string_view json, chat::AgentUsage& usage) {
        return each_member(json, [&](string_view key, string_view value) -> Result<> {
            if (key == "llm_calls") usage.llm_calls = number<std::int64_t>(value);
            if (key == "tool_rounds") usage.tool_rounds = number<std::int64_t>(value);
            if (key == "tool_calls_requested") usage.tool_calls_requested = number<std::int64_t>(value);
            if (key == "tool_calls_executed") usage.tool_calls_executed = number<std::int64_t>(value);
            if (key == "tool_calls_failed") usage.tool_calls_failed = number<std::int64_t>(value);
            if (key == "last_prompt_tokens") usage.last_prompt_tokens = number<std::int64_t>(value);
            if (key == "stop_reason") usage.stop_reason = stop_reason(text_body(value));
            return {};
        });
    }

    StoredAnswer& answer_;
    char const* readable_end_;
};

} // namespace

core::Result<StoredAnswer> read_stored_answer(string_view json) {
    auto const sound = core::check_json(json, kDepthMax);
    if (!sound) return walk_error();
    std::string padded;
    padded.reserve(json.size() + core::kJsonPadding);
    padded = json;
    StoredAnswer answer;
    answer.json = std::make_unique<std::string const>(std::move(padded));
    auto const read = AnswerReader(answer).read();
    if (!read) return read.error();
    return answer;
}

} // namespace parley::server

// chat::RunEvent and core::Error as JSON, in the form of tests/golden/README.md, and how two such lists compare.
// Test side only.
#include "tests/unit/providers/event_json.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <stdexcept>
#include <string>
#include <type_traits>
#include <variant>

namespace parley::tests {

namespace {

namespace json = boost::json;

json::value parsed(std::string text) {
    json::error_code failed;
    json::value value = json::parse(text, failed);
    if (failed) throw std::runtime_error("the decoder gave invalid JSON: " + text);
    return value;
}

json::value text_of(std::string_view body) {
    std::string quoted = "\"";
    quoted.append(body).append("\"");
    return parsed(std::move(quoted));
}

void add_choice(json::object& line, int choice) {
    if (choice != 0) line["choice"] = choice;
}

json::object usage_to_json(chat::Usage const& usage) {
    json::object out;
    auto add = [&](char const* name, std::int64_t count) {
        if (count != 0) out[name] = count;
    };
    add("prompt_tokens", usage.prompt_tokens);
    add("completion_tokens", usage.completion_tokens);
    add("cached_tokens", usage.cached_tokens);
    add("cache_write_tokens", usage.cache_write_tokens);
    add("reasoning_tokens", usage.reasoning_tokens);
    if (usage.cost_usd) out["cost_usd"] = *usage.cost_usd;
    return out;
}

struct ToJson {
    json::object operator()(chat::TextDelta const& event) const {
        json::object line{{"text", text_of(event.body)}};
        if (!event.logprobs.empty()) line["logprobs"] = parsed(std::string(event.logprobs));
        add_choice(line, event.choice);
        return line;
    }
    json::object operator()(chat::ReasoningDelta const& event) const {
        json::object line{{"reasoning", text_of(event.body)}};
        add_choice(line, event.choice);
        return line;
    }
    json::object operator()(chat::RefusalDelta const& event) const {
        json::object line{{"refusal", text_of(event.body)}};
        add_choice(line, event.choice);
        return line;
    }
    json::object operator()(chat::ToolCallDelta const& event) const {
        json::object call{{"index", event.index}};
        if (!event.id.empty()) call["id"] = text_of(event.id);
        if (!event.name.empty()) call["name"] = text_of(event.name);
        call["arguments"] = text_of(event.arguments);
        json::object line{{"tool_call", std::move(call)}};
        add_choice(line, event.choice);
        return line;
    }
    json::object operator()(chat::DeltaField const& event) const {
        json::object line{{"field", text_of(event.name)}, {"value", parsed(std::string(event.json))}};
        add_choice(line, event.choice);
        return line;
    }
    json::object operator()(chat::ChoiceEnd const& event) const {
        // Not finish_reason_name(): the fixtures must notice when that is wrong.
        char const* reason = "stop";
        if (event.reason == chat::FinishReason::kLength) reason = "length";
        if (event.reason == chat::FinishReason::kToolCalls) reason = "tool_calls";
        if (event.reason == chat::FinishReason::kContentFilter) reason = "content_filter";
        json::object line{{"end", reason}};
        add_choice(line, event.choice);
        return line;
    }
    json::object operator()(chat::UsageReport const& event) const { return {{"usage", usage_to_json(event.usage)}}; }
    template <class Event>
    json::object operator()(Event const&) const {
        return {{"error", "an event of the run, which no decoder makes"}};
    }
    json::object operator()(chat::ModelReport const& event) const {
        json::object line{{"model", text_of(event.model)}};
        if (!event.system_fingerprint.empty()) line["system_fingerprint"] = text_of(event.system_fingerprint);
        if (!event.service_tier.empty()) line["service_tier"] = text_of(event.service_tier);
        return line;
    }
};

/// Appends `more` to the string `name` of `line` when both are nothing but that and the same choice.
bool join_text(json::object& line, json::object const& more, char const* name) {
    if (!line.contains(name) || !more.contains(name) || line.contains("logprobs") || more.contains("logprobs"))
        return false;
    json::value const* choice = line.if_contains("choice");
    json::value const* more_choice = more.if_contains("choice");
    if ((choice ? choice->as_int64() : 0) != (more_choice ? more_choice->as_int64() : 0)) return false;
    line[name].as_string().append(more.at(name).as_string());
    return true;
}

bool join_call(json::object& line, json::object const& more) {
    if (!line.contains("tool_call") || !more.contains("tool_call")) return false;
    json::object& call = line["tool_call"].as_object();
    json::object const& piece = more.at("tool_call").as_object();
    if (line.contains("choice") != more.contains("choice") || call.at("index") != piece.at("index") ||
        piece.contains("id") || piece.contains("name")) {
        return false;
    }
    call["arguments"].as_string().append(piece.at("arguments").as_string());
    return true;
}

bool error_matches(json::object const& expected, json::object const& actual) {
    for (auto const& member : expected) {
        if (member.key() == "message_has") {
            json::string const& message = actual.at("message").as_string();
            json::string const& part = member.value().as_string();
            if (std::string_view(message.data(), message.size()).find(std::string_view(part.data(), part.size())) ==
                std::string_view::npos) {
                return false;
            }
            continue;
        }
        json::value const* value = actual.if_contains(member.key());
        if (!value || *value != member.value()) return false;
    }
    return true;
}

} // namespace

json::object event_to_json(chat::RunEvent const& event) {
    return std::visit(ToJson{}, event);
}

std::string_view errc_name(core::Errc code) {
    using enum core::Errc;
    switch (code) {
#define PARLEY_NAME(name) \
    case name:            \
        return #name
        PARLEY_NAME(kInvalidJson);
        PARLEY_NAME(kMissingParameter);
        PARLEY_NAME(kInvalidType);
        PARLEY_NAME(kInvalidValue);
        PARLEY_NAME(kUnsupportedValue);
        PARLEY_NAME(kIdempotencyKeyReused);
        PARLEY_NAME(kContextLengthExceeded);
        PARLEY_NAME(kContentFilter);
        PARLEY_NAME(kInvalidApiKey);
        PARLEY_NAME(kPermissionDenied);
        PARLEY_NAME(kModelNotFound);
        PARLEY_NAME(kConversationNotFound);
        PARLEY_NAME(kUnknownUrl);
        PARLEY_NAME(kMethodNotAllowed);
        PARLEY_NAME(kPayloadTooLarge);
        PARLEY_NAME(kUnsupportedMediaType);
        PARLEY_NAME(kRateLimited);
        PARLEY_NAME(kInsufficientQuota);
        PARLEY_NAME(kToolNameConflict);
        PARLEY_NAME(kConflict);
        PARLEY_NAME(kRequestInProgress);
        PARLEY_NAME(kUpstreamUnavailable);
        PARLEY_NAME(kUpstreamTimeout);
        PARLEY_NAME(kUpstreamTls);
        PARLEY_NAME(kUpstreamAuth);
        PARLEY_NAME(kUpstreamTruncated);
        PARLEY_NAME(kUpstreamInvalid);
        PARLEY_NAME(kUpstreamOverloaded);
        PARLEY_NAME(kUpstreamRejected);
        PARLEY_NAME(kUpstreamFailed);
        PARLEY_NAME(kAgentUnavailable);
        PARLEY_NAME(kStoreUnavailable);
        PARLEY_NAME(kOverloaded);
        PARLEY_NAME(kDraining);
        PARLEY_NAME(kDeadlineExceeded);
        PARLEY_NAME(kCancelled);
        PARLEY_NAME(kInternal);
#undef PARLEY_NAME
    }
    throw std::logic_error("an Errc without a name");
}

json::object error_to_json(core::Error const& error) {
    json::object out{{"code", errc_name(error.code)}, {"message", error.message}};
    if (!error.param.empty()) out["param"] = error.param;
    if (error.upstream_status != 0) out["status"] = error.upstream_status;
    if (error.retry_after) out["retry_after_ms"] = error.retry_after->count();
    if (error.should_retry) out["should_retry"] = *error.should_retry;
    return {{"error", std::move(out)}};
}

void append_event_line(json::array& lines, json::object line) {
    if (!lines.empty()) {
        json::object& last = lines.back().as_object();
        for (char const* name : {"text", "reasoning", "refusal"}) {
            if (join_text(last, line, name)) return;
        }
        if (join_call(last, line)) return;
    }
    lines.push_back(std::move(line));
}

void append_events(json::array& lines, std::span<chat::RunEvent const> events) {
    for (auto const& event : events)
        append_event_line(lines, event_to_json(event));
}

bool lines_match(json::array const& expected, json::array const& actual) {
    if (expected.size() != actual.size()) return false;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        json::object const& want = expected[i].as_object();
        json::object const& got = actual[i].as_object();
        json::value const* want_error = want.if_contains("error");
        json::value const* got_error = got.if_contains("error");
        bool const same =
            want_error && got_error ? error_matches(want_error->as_object(), got_error->as_object()) : want == got;
        if (!same) return false;
    }
    return true;
}

} // namespace parley::tests

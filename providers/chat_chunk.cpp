// One JSON object of a chat completion (a stream's chunk or a whole answer) as plain slices of its own text.
// One pass with simdjson's on-demand reader. Every `false` here means: not the JSON that it should be.
// Pure functions, no state.
#include "providers/chat_chunk.hpp"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>

#include "core/json.hpp"
#include "core/json_object.hpp"

namespace parley::providers {

namespace {

namespace ondemand = simdjson::ondemand;

static_assert(core::kJsonPadding >= simdjson::SIMDJSON_PADDING);

bool is_string(std::string_view json) {
    return json.size() >= 2 && json.front() == '"';
}

/// A member that providers send to mean "nothing".
bool is_nothing(std::string_view json) {
    return json == "null" || json == "false" || json == "\"\"" || json == "[]" || json == "{}";
}

bool raw_json(ondemand::value& value, std::string_view& json) {
    return !simdjson::to_json_string(value).get(json);
}

/// The body of a string; empty for null and for anything that is no string.
bool read_body(ondemand::value& value, std::string_view& body) {
    std::string_view json;
    if (!raw_json(value, json)) return false;
    body = is_string(json) ? core::strip_quotes(json) : std::string_view{};
    return true;
}

/// A JSON value that is not "nothing".
bool read_json(ondemand::value& value, std::string_view& json) {
    if (!raw_json(value, json)) return false;
    if (is_nothing(json)) json = {};
    return true;
}

double to_double(std::string_view json) {
    double number = 0;
    auto const [end, failed] = std::from_chars(json.data(), json.data() + json.size(), number);
    return failed == std::errc{} && std::isfinite(number) && number > 0 ? number : 0;
}

constexpr std::int64_t kCountMax = 1'000'000'000'000'000; // of tokens

bool read_count(ondemand::value& value, std::int64_t& count) {
    std::string_view json;
    if (!raw_json(value, json)) return false;
    auto const* const end = json.data() + json.size();
    auto const whole = std::from_chars(json.data(), end, count);
    if (whole.ec == std::errc{} && whole.ptr == end && count >= 0 && count <= kCountMax) return true;
    count = static_cast<std::int64_t>(std::min(to_double(json), static_cast<double>(kCountMax))); // 12.0, or too large
    return true;
}

bool read_index(ondemand::value& value, int& index) {
    std::string_view json;
    if (!raw_json(value, json)) return false;
    int number = -1;
    auto const [end, failed] = std::from_chars(json.data(), json.data() + json.size(), number);
    index = failed == std::errc{} ? number : -1;
    return true;
}

/// Calls visit(name, value) for each member; visit returns false to give up. A value that is no object has no members.
template <class Visit>
bool for_each_member(ondemand::value& value, Visit visit) {
    ondemand::json_type type{};
    if (value.type().get(type)) return false;
    if (type != ondemand::json_type::object) return true;
    ondemand::object object;
    if (value.get_object().get(object)) return false;
    for (auto member : object) {
        ondemand::field field;
        if (std::move(member).get(field)) return false;
        char const* const begin = field.key().raw();
        char const* end = begin;
        while (*end != '"')
            end += *end == '\\' ? 2 : 1; // the parser has seen to it that the quote comes
        if (!visit(std::string_view(begin, static_cast<std::size_t>(end - begin)), field.value())) return false;
    }
    return true;
}

/// The same for the elements of an array.
template <class Visit>
bool for_each_element(ondemand::value& value, Visit visit) {
    ondemand::json_type type{};
    if (value.type().get(type)) return false;
    if (type != ondemand::json_type::array) return true;
    ondemand::array array;
    if (value.get_array().get(array)) return false;
    for (auto item : array) {
        ondemand::value element;
        if (std::move(item).get(element) || !visit(element)) return false;
    }
    return true;
}

bool read_usage(ondemand::value& value, chat::Usage& usage) {
    usage = {};
    return for_each_member(value, [&](std::string_view name, ondemand::value& member) {
        if (name == "prompt_tokens") return read_count(member, usage.prompt_tokens);
        if (name == "completion_tokens") return read_count(member, usage.completion_tokens);
        // Moonshot and DeepSeek state cached tokens beside the details, not in them.
        if (name == "cached_tokens" || name == "prompt_cache_hit_tokens")
            return read_count(member, usage.cached_tokens);
        if (name == "prompt_tokens_details") {
            return for_each_member(member, [&](std::string_view detail, ondemand::value& count) {
                if (detail == "cached_tokens") return read_count(count, usage.cached_tokens);
                if (detail == "cache_write_tokens") return read_count(count, usage.cache_write_tokens);
                return true;
            });
        }
        if (name == "completion_tokens_details") {
            return for_each_member(member, [&](std::string_view detail, ondemand::value& count) {
                return detail != "reasoning_tokens" || read_count(count, usage.reasoning_tokens);
            });
        }
        std::string_view json;
        if (name == "cost" && raw_json(member, json) && json != "null") usage.cost_usd = to_double(json);
        return true;
    });
}

class ChoiceReader {
public:
    ChoiceReader(Chunk& chunk, ChunkChoice& choice) : chunk_(chunk), choice_(choice) { mark_begin(); }

    bool read(ondemand::value& value) {
        bool const good = for_each_member(value, [&](std::string_view name, ondemand::value& member) {
            if (name == "delta") return read_delta(member);
            // A whole answer has `message`. A server that sends both in one chunk repeats itself in `message`.
            if (name == "message") return has_delta_ || read_delta(member, false);
            if (name == "index") return read_index(member, choice_.index);
            if (name == "finish_reason") return read_body(member, choice_.finish_reason);
            if (name == "logprobs") return read_json(member, choice_.logprobs);
            if (name == "error") return read_json(member, choice_.error);
            return true;
        });
        if (!reasoning_.empty()) {
            chunk_.parts.insert(chunk_.parts.begin() + static_cast<std::ptrdiff_t>(choice_.parts.begin),
                                {ChunkPart::Kind::kReasoning, reasoning_});
        }
        // Some servers say a call twice, in the new form and in the old one.
        bool const has_legacy_call = !legacy_call_.name.empty() || !legacy_call_.arguments.empty();
        if (has_legacy_call && chunk_.calls.size() == choice_.calls.begin) chunk_.calls.push_back(legacy_call_);
        choice_.parts.end = chunk_.parts.size();
        choice_.calls.end = chunk_.calls.size();
        choice_.fields.end = chunk_.fields.size();
        return good;
    }

private:
    void mark_begin() {
        choice_.parts.begin = chunk_.parts.size();
        choice_.calls.begin = chunk_.calls.size();
        choice_.fields.begin = chunk_.fields.size();
    }

    bool read_delta(ondemand::value& value, bool is_delta = true) {
        if (is_delta && !has_delta_) {
            chunk_.parts.resize(choice_.parts.begin);
            chunk_.calls.resize(choice_.calls.begin);
            chunk_.fields.resize(choice_.fields.begin);
            reasoning_ = {};
            legacy_call_ = {};
            has_delta_ = true;
        }
        return for_each_member(
            value, [&](std::string_view name, ondemand::value& member) { return read_member(name, member); });
    }

    bool read_member(std::string_view name, ondemand::value& member) {
        if (name == "content") return read_content(member, ChunkPart::Kind::kText);
        if (name == "role" || name == "event") return true; // `event` would run as a script in Open WebUI
        if (name == "refusal") return read_part(member, ChunkPart::Kind::kRefusal);
        if (name == "reasoning_content" || name == "reasoning" || name == "reasoning_text")
            return read_reasoning(member);
        if (name == "tool_calls") {
            return for_each_element(member, [&](ondemand::value& call) { return read_call(call); });
        }
        if (name == "function_call") return read_function(member, legacy_call_);
        ChunkField field{name, {}};
        if (!read_json(member, field.json)) return false;
        if (!field.json.empty()) chunk_.fields.push_back(field);
        return true;
    }

    /// Some servers send the same text under two of the names: the first that is not empty counts.
    bool read_reasoning(ondemand::value& member) {
        std::string_view body;
        if (!read_body(member, body)) return false;
        if (reasoning_.empty()) reasoning_ = body;
        return true;
    }

    bool read_part(ondemand::value& member, ChunkPart::Kind kind) {
        std::string_view body;
        if (!read_body(member, body)) return false;
        if (!body.empty()) chunk_.parts.push_back({kind, body});
        return true;
    }

    /// Text, or a list of parts (Mistral: text, and thinking that holds text).
    bool read_content(ondemand::value& member, ChunkPart::Kind kind) {
        ondemand::json_type type{};
        if (member.type().get(type)) return false;
        if (type == ondemand::json_type::string) return read_part(member, kind);
        return for_each_element(member, [&](ondemand::value& part) {
            return for_each_member(part, [&](std::string_view name, ondemand::value& value) {
                if (name == "text") return read_part(value, kind);
                if (name == "refusal") return read_part(value, ChunkPart::Kind::kRefusal);
                return name != "thinking" || read_content(value, ChunkPart::Kind::kReasoning);
            });
        });
    }

    bool read_call(ondemand::value& value) {
        ChunkToolCall call;
        bool const good = for_each_member(value, [&](std::string_view name, ondemand::value& member) {
            if (name == "index") return read_index(member, call.index);
            if (name == "id") return read_body(member, call.id);
            if (name == "function" || name == "custom") return read_function(member, call);
            return true;
        });
        // The calls of a whole message are all there is: each element is one, whatever it says about itself.
        if (!has_delta_) call.index = static_cast<int>(chunk_.calls.size() - choice_.calls.begin);
        chunk_.calls.push_back(call);
        return good;
    }

    static bool read_function(ondemand::value& value, ChunkToolCall& call) {
        return for_each_member(value, [&](std::string_view name, ondemand::value& member) {
            if (name == "name") return read_body(member, call.name);
            if (name != "arguments" && name != "input") return true; // `input`: of a custom tool
            std::string_view json;
            if (!raw_json(member, json)) return false;
            call.arguments_are_json = !is_string(json) && json != "null";
            call.arguments = call.arguments_are_json ? json
                             : is_string(json)       ? core::strip_quotes(json)
                                                     : std::string_view{};
            return true;
        });
    }

    Chunk& chunk_;
    ChunkChoice& choice_;
    std::string_view reasoning_;
    ChunkToolCall legacy_call_;
    bool has_delta_ = false;
};

bool read_choices(ondemand::value& value, Chunk& chunk) {
    return for_each_element(value, [&](ondemand::value& element) {
        ChunkChoice choice;
        bool const good = ChoiceReader(chunk, choice).read(element);
        chunk.choices.push_back(choice);
        return good;
    });
}

bool read_top_level(std::string_view name, ondemand::value& value, Chunk& chunk) {
    if (name == "choices") {
        chunk.has_choices = true;
        return read_choices(value, chunk);
    }
    if (name == "id") return read_body(value, chunk.id);
    if (name == "model") return read_body(value, chunk.model);
    if (name == "system_fingerprint") return read_body(value, chunk.system_fingerprint);
    if (name == "service_tier") return read_body(value, chunk.service_tier);
    if (name == "error") return read_json(value, chunk.error);
    if (name == "object") {
        std::string_view object;
        if (!read_body(value, object)) return false;
        chunk.is_error = object == "error";
        return true;
    }
    if (name == "usage") {
        ondemand::json_type type{};
        if (value.type().get(type)) return false;
        chunk.has_usage = type == ondemand::json_type::object;
        return read_usage(value, chunk.usage);
    }
    return true;
}

void clear(Chunk& chunk) {
    chunk.id = chunk.model = chunk.system_fingerprint = chunk.service_tier = chunk.error = {};
    chunk.is_error = chunk.has_choices = chunk.has_usage = false;
    chunk.choices.clear();
    chunk.parts.clear();
    chunk.calls.clear();
    chunk.fields.clear();
}

} // namespace

ChunkStatus read_chunk(std::string_view json, Chunk& chunk) {
    clear(chunk);
    core::JsonParser parser;
    ondemand::document document;
    auto const failed =
        parser.get().iterate(json.data(), json.size(), json.size() + simdjson::SIMDJSON_PADDING).get(document);
    if (failed == simdjson::UTF8_ERROR) return ChunkStatus::kInvalidUtf8;
    if (failed) return ChunkStatus::kInvalid;

    ondemand::json_type type{};
    if (document.type().get(type)) return ChunkStatus::kInvalid;
    // By its text: simdjson 3.0 looks at the wrong byte behind a lone `null`, so that `null=` may pass for one.
    if (type != ondemand::json_type::object) return json == "null" ? ChunkStatus::kRead : ChunkStatus::kInvalid;
    ondemand::value root;
    if (document.get_value().get(root)) return ChunkStatus::kInvalid;
    bool const good = for_each_member(
        root, [&](std::string_view name, ondemand::value& value) { return read_top_level(name, value, chunk); });
    bool const more_text = document.current_location().error() == simdjson::SUCCESS; // at_end() came after 3.0.1
    return good && !more_text ? ChunkStatus::kRead : ChunkStatus::kInvalid;
}

} // namespace parley::providers

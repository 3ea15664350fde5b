// Ollama's lines become events. Text stays the bytes of its JSON string; tool calls, which Ollama sends whole and with
// arguments as an object, become OpenAI's: arguments as text, an id each, indexes counted over the whole answer.
// One per model call, runs on its loop.
#include "providers/ollama_decoder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json.hpp"
#include "providers/json_text.hpp"
#include "providers/kept_text.hpp"
#include "providers/ndjson.hpp"
#include "providers/provider_error.hpp"

namespace parley::providers {

namespace {

constexpr std::size_t kBodyBytesMax = 64 * 1024 * 1024; // of an answer that is not a stream
constexpr std::size_t kPassedDepthMax = 64;             // of provider JSON that is sent on as it is

/// Ids must not repeat within a conversation, of which this decoder sees one answer.
std::string new_call_prefix() {
    std::random_device device;
    return fmt::format("call_{:08x}{:08x}_", device(), device());
}

class OllamaDecoder final : public Decoder {
public:
    explicit OllamaDecoder(bool streaming) : streaming_(streaming) {}

    core::Result<> feed(std::string_view bytes, std::vector<chat::RunEvent>& events) override;
    core::Result<> finish(std::vector<chat::RunEvent>& events) override;
    bool done() const noexcept override { return done_; }

private:
    core::Result<> read_lines(std::string_view bytes, std::vector<chat::RunEvent>& events);
    core::Result<> read_object(std::string_view line, std::vector<chat::RunEvent>& events);
    core::Result<> read_message(std::string_view message, std::string_view logprobs,
                                std::vector<chat::RunEvent>& events);
    core::Result<> read_tool_call(std::string_view call, std::vector<chat::RunEvent>& events);
    std::string_view arguments_body(std::string_view arguments);
    std::string_view chat_logprobs(std::string_view logprobs);
    void read_end(JsonMembers const& line, std::vector<chat::RunEvent>& events);

    bool const streaming_;
    bool done_ = false;
    bool model_told_ = false;
    int calls_ = 0;
    std::string call_prefix_; // made with the first call that has no id
    NdjsonReader reader_;
    std::vector<std::string_view> lines_;
    std::string body_; // when not streaming
    JsonSlicer slicer_;
    KeptText kept_;
};

core::Result<> OllamaDecoder::feed(std::string_view bytes, std::vector<chat::RunEvent>& events) {
    kept_.clear();
    if (done_) return {};
    if (streaming_) return read_lines(bytes, events);
    if (body_.size() + bytes.size() > kBodyBytesMax) return error_unreadable("the body is too long", body_);
    body_ += bytes;
    return {};
}

core::Result<> OllamaDecoder::read_lines(std::string_view bytes, std::vector<chat::RunEvent>& events) {
    lines_.clear();
    auto const fed = reader_.feed(bytes, lines_);
    for (std::string_view const line : lines_) {
        auto const read = read_object(line, events);
        if (!read) return read.error();
        if (done_) return {};
    }
    return fed;
}

core::Result<> OllamaDecoder::finish(std::vector<chat::RunEvent>& events) {
    if (done_) return {};
    kept_.clear();
    if (streaming_) {
        std::string_view const rest = reader_.rest();
        if (rest.empty()) return error_truncated();
        if (!slicer_.members(rest)) return rest.front() == '{' ? error_truncated() : error_unreadable("not JSON", rest);
        auto const read = read_object(rest, events);
        if (!read) return read.error();
    } else if (slicer_.members(body_) || !core::is_valid_utf8(body_)) {
        auto const read = read_object(body_, events);
        if (!read) return read.error();
    } else {
        body_ += '\n'; // a stream with the Content-Type of a single answer
        auto const read = read_lines(body_, events);
        if (!read) return read.error();
    }
    if (!done_) return error_truncated();
    return {};
}

core::Result<> OllamaDecoder::read_object(std::string_view line, std::vector<chat::RunEvent>& events) {
    auto members = slicer_.members(line);
    if (!members && !core::is_valid_utf8(line)) {
        line = kept_.keep(core::repair_utf8(line));
        members = slicer_.members(line);
    }
    if (!members) return error_unreadable("not a JSON object", line);
    if (!find_member(*members, "error").empty()) return error_from_json(line);

    std::string_view const model = string_body(find_member(*members, "model"));
    if (!model_told_ && !model.empty()) {
        model_told_ = true;
        events.emplace_back(chat::ModelReport{kept_.clean_body(model)});
    }
    if (std::string_view const message = find_member(*members, "message"); is_object(message)) {
        auto const read = read_message(message, find_member(*members, "logprobs"), events);
        if (!read) return read.error();
    }
    if (find_member(*members, "done") == "true") read_end(*members, events);
    return {};
}

core::Result<> OllamaDecoder::read_message(std::string_view message, std::string_view logprobs,
                                           std::vector<chat::RunEvent>& events) {
    auto const members = slicer_.members(message);
    if (!members) return error_unreadable("a message that is not JSON", message);
    if (auto const thinking = string_body(find_member(*members, "thinking")); !thinking.empty())
        events.emplace_back(chat::ReasoningDelta{kept_.clean_body(thinking)});
    if (auto const content = string_body(find_member(*members, "content")); !content.empty())
        events.emplace_back(chat::TextDelta{kept_.clean_body(content), chat_logprobs(logprobs)});

    std::string_view const tool_calls = find_member(*members, "tool_calls");
    if (tool_calls.empty()) return {};
    auto const calls = slicer_.elements(tool_calls);
    if (!calls) return error_unreadable("tool_calls is not an array", tool_calls);
    for (std::string_view const call : *calls) {
        auto const read = read_tool_call(call, events);
        if (!read) return read.error();
    }
    return {};
}

core::Result<> OllamaDecoder::read_tool_call(std::string_view call, std::vector<chat::RunEvent>& events) {
    auto const members = slicer_.members(call);
    if (!members) return error_unreadable("a tool call that is not an object", call);
    auto const function = slicer_.members(find_member(*members, "function"));
    if (!function) return error_unreadable("a tool call without a function", call);
    std::string_view const name = string_body(find_member(*function, "name"));
    if (name.empty()) return error_unreadable("a tool call without a name", call);

    // Ollama's own index starts again with each chunk, and is 0 for all in old versions: count, do not read it.
    int const index = calls_++;
    std::string_view id = string_body(find_member(*members, "id"));
    if (id.empty()) {
        if (call_prefix_.empty()) call_prefix_ = new_call_prefix();
        id = kept_.keep(call_prefix_ + std::to_string(index));
    } else {
        id = kept_.clean_body(id);
    }
    std::string_view const arguments = arguments_body(find_member(*function, "arguments"));
    events.emplace_back(chat::ToolCallDelta{index, id, kept_.clean_body(name), arguments});
    return {};
}

std::string_view OllamaDecoder::arguments_body(std::string_view arguments) {
    if (is_string(arguments)) return kept_.clean_body(string_body(arguments));
    return arguments.empty() ? std::string_view("{}") : kept_.body_of(arguments);
}

std::string_view OllamaDecoder::chat_logprobs(std::string_view logprobs) {
    if (is_empty_json(logprobs) || !core::check_json(logprobs, kPassedDepthMax)) return {};
    return kept_.keep(fmt::format(R"({{"content":{},"refusal":null}})", logprobs));
}

void OllamaDecoder::read_end(JsonMembers const& line, std::vector<chat::RunEvent>& events) {
    done_ = true;
    auto reason =
        calls_ > 0 ? chat::FinishReason::kToolCalls : chat::FinishReason::kStop; // Ollama says "stop" for both
    if (string_body(find_member(line, "done_reason")) == "length") reason = chat::FinishReason::kLength;
    events.emplace_back(chat::ChoiceEnd{reason});

    chat::Usage usage;
    auto count = [&line](std::string_view name) {
        return std::max<std::int64_t>(0, read_integer(find_member(line, name)).value_or(0));
    };
    usage.prompt_tokens = count("prompt_eval_count"); // left out when the whole prompt was cached
    usage.completion_tokens = count("eval_count");
    events.emplace_back(chat::UsageReport{usage});
}

} // namespace

std::unique_ptr<Decoder> make_ollama_decoder(bool streaming) {
    return std::make_unique<OllamaDecoder>(streaming);
}

} // namespace parley::providers

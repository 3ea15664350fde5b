// The decoder of the OpenAI chat-completions family: SSE chunks, or one JSON body, to chat::RunEvent.
// Lenient with everything that servers of the family are known to do (docs: openai_api quirks are tests/golden/),
// strict about ends: an answer that merely stops is an error. One per model call, single-threaded.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <memory_resource>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/json.hpp"
#include "core/json_padded.hpp"
#include "net/sse.hpp"
#include "providers/chat_chunk.hpp"
#include "providers/chat_completions.hpp"
#include "providers/kept_text.hpp"
#include "providers/provider_error.hpp"
#include "providers/repeat_template.hpp"
#include "providers/tool_call_merger.hpp"

namespace parley::providers {

namespace {

using chat::FinishReason;
using chat::RunEvent;
using core::Result;

constexpr std::size_t kHeadBytesMax = 200; // of an answer that turns out to be no answer, for the log
constexpr int kChoicesMax = 128;           // n of the API
constexpr std::size_t kFieldDepthMax = 64;
constexpr std::size_t kCopiedBytesUsual = 1500; // of one or two chunks

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view kSpace = " \t\r\n";
    std::size_t const begin = text.find_first_not_of(kSpace);
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

/// nullopt for a name that says that the answer failed.
std::optional<FinishReason> read_finish_reason(std::string_view name) {
    if (name == "length" || name == "max_tokens" || name == "model_length") return FinishReason::kLength;
    if (name == "tool_calls" || name == "function_call" || name == "tool_use") return FinishReason::kToolCalls;
    if (name == "content_filter") return FinishReason::kContentFilter;
    if (name == "error" || name == "abort" || name == "network_error" || name == "insufficient_system_resource") {
        return std::nullopt; // OpenRouter, vLLM, Zhipu, DeepSeek
    }
    return FinishReason::kStop; // eos, end_turn, and what nobody has thought of yet
}

/// Read and done with inside one feed, so a stream that waits need not hold one.
Chunk& thread_chunk() {
    thread_local Chunk chunk;
    return chunk;
}

struct Choice {
    explicit Choice(int number) : index(number), calls(number) {}

    /// The first end counts, but for a filter that strikes afterwards (Azure's asynchronous filter).
    void end_with(FinishReason reason) {
        if (!end || reason == FinishReason::kContentFilter) end = reason;
    }

    /// Without calls, `tool_calls` would make a client wait for itself; with them, `stop` would make it ignore them.
    FinishReason final_end() const {
        FinishReason const said = end.value_or(FinishReason::kStop);
        if (said != FinishReason::kStop && said != FinishReason::kToolCalls) return said;
        return calls.any() ? FinishReason::kToolCalls : FinishReason::kStop;
    }

    int index;
    std::optional<FinishReason> end;
    ToolCallMerger calls;
};

class ChatDecoder final : public Decoder {
public:
    Result<> feed(std::string_view bytes, std::vector<RunEvent>& events) override {
        if (done_) return {};
        kept_.clear();
        memory_.release();
        if (choices_.empty() && head_.size() < kHeadBytesMax)
            head_.append(bytes.substr(0, kHeadBytesMax - head_.size()));
        if (shape_ == Shape::kUnknown) {
            bytes.remove_prefix(find_shape(bytes));
            if (shape_ == Shape::kUnknown) return {};
        }
        if (shape_ == Shape::kHtml) return error_unreadable({}, "<");
        if (shape_ == Shape::kJson) {
            body_.append(bytes);
            return {};
        }
        return feed_stream(bytes, events);
    }

    Result<> finish(std::vector<RunEvent>& events) override {
        if (done_) return {};
        kept_.clear();
        memory_.release();
        if (shape_ == Shape::kUnknown) return error_truncated();
        return shape_ == Shape::kJson ? finish_json(events) : finish_stream(events);
    }

    bool done() const noexcept override { return done_; }

private:
    enum class Shape { kUnknown, kStream, kJson, kHtml };

    /// Servers lie about Content-Type: the first byte tells. Gives the number of bytes to skip before it. White space
    /// is what some servers send while they think, and means nothing in either shape.
    std::size_t find_shape(std::string_view bytes) {
        std::size_t const at = bytes.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
        if (at == std::string_view::npos) return bytes.size();
        char const c = bytes[at];
        shape_ = c == '{' || c == '[' ? Shape::kJson : c == '<' ? Shape::kHtml : Shape::kStream;
        return at;
    }

    Result<> feed_stream(std::string_view bytes, std::vector<RunEvent>& events) {
        reader_.feed(bytes);
        net::SseEvent event;
        while (!done_) {
            auto const more = reader_.next(event);
            if (!more) return more.error();
            if (!*more) break;
            auto const read = read_event(event, bytes, events);
            if (!read) return read.error();
        }
        return {};
    }

    Result<> finish_stream(std::vector<RunEvent>& events) {
        net::SseEvent event;
        auto const last = reader_.finish(event);
        if (!last) return last.error();
        if (*last) {
            auto const read = read_event(event, {}, events);
            if (!read) return read.error().code == core::Errc::kUpstreamInvalid ? error_truncated() : read.error();
            if (done_) return {};
        }
        if (!reader_.recognised()) return error_unreadable("it is neither a stream of events nor JSON.", head_);
        bool const ended =
            std::all_of(choices_.begin(), choices_.end(), [](Choice const& c) { return c.end.has_value(); });
        if (choices_.empty() || !ended) return error_truncated();
        return complete(events);
    }

    Result<> finish_json(std::vector<RunEvent>& events) {
        std::size_t const size = body_.size();
        body_.resize(size + core::kJsonPadding);
        std::string_view const json = trimmed(std::string_view(body_).substr(0, size));
        ChunkStatus const status = read_json(json);
        if (status != ChunkStatus::kRead) {
            if (json.empty() || (json.back() != '}' && json.back() != ']')) return error_truncated();
            return error_unreadable("it is not valid JSON.", head_);
        }
        // A whole answer says something or at least why it ended; what does neither is no answer of this API.
        for (auto const& choice : chunk_.choices) {
            auto const silent = choice.parts.begin == choice.parts.end && choice.calls.begin == choice.calls.end;
            if (silent && choice.finish_reason.empty() && choice.error.empty()) {
                return error_unreadable("a choice of it holds neither a message nor a finish_reason.", head_);
            }
        }
        auto const taken = take_chunk(json, events);
        return taken ? complete(events) : taken;
    }

    Result<> read_event(net::SseEvent const& event, std::string_view fed, std::vector<RunEvent>& events) {
        std::string_view const data = trimmed(event.data);
        if (data.empty()) return {};
        if (data == "[DONE]") return complete(events);
        if (event.event == "error") return error_from_json(data);

        if (auto const body = template_.match(data)) {
            pass_on(is_inside(data, fed) ? *body : copy(*body), events);
            return {};
        }
        template_.forget();

        bool const has_room = is_inside(data, fed) && fed.data() + fed.size() - data.data() >=
                                                          static_cast<std::ptrdiff_t>(data.size() + core::kJsonPadding);
        std::string_view const json = has_room ? data : copy(data);
        if (read_json(json) != ChunkStatus::kRead)
            return error_unreadable("an event of its stream is not valid JSON.", data);
        if (!event.event.empty() && event.event != "message" && !chunk_.has_choices) return {};

        std::size_t const before = events.size();
        auto const taken = take_chunk(json, events);
        if (taken && events.size() == before + 1) learn(json, events.back());
        return taken;
    }

    ChunkStatus read_json(std::string_view json) {
        ChunkStatus const status = read_chunk(json, chunk_);
        if (status != ChunkStatus::kInvalidUtf8) return status;
        return read_chunk(copy(core::repair_utf8(json)), chunk_);
    }

    static bool is_inside(std::string_view part, std::string_view whole) {
        return !whole.empty() && part.data() >= whole.data() && part.data() < whole.data() + whole.size();
    }

    /// A copy that lives as long as the events of this feed, with room for the JSON reader behind it.
    std::string_view copy(std::string_view text) {
        char* const to = static_cast<char*>(memory_.allocate(text.size() + core::kJsonPadding, 1));
        std::memcpy(to, text.data(), text.size());
        std::memset(to + text.size(), 0, core::kJsonPadding);
        return {to, text.size()};
    }

    Result<> take_chunk(std::string_view json, std::vector<RunEvent>& events) {
        if (!chunk_.error.empty()) return error_from_json(chunk_.error);
        if (chunk_.is_error) return error_from_json(json);
        if (answer_id_.empty()) answer_id_.assign(chunk_.id);
        report_model(events);
        if (chunk_.has_usage) usage_ = chunk_.usage;
        for (std::size_t i = 0; i < chunk_.choices.size(); ++i) {
            auto const taken = take_choice(chunk_.choices[i], static_cast<int>(i), events);
            if (!taken) return taken;
        }
        return {};
    }

    /// Once, and again when it changes: service_tier and fingerprint may come late, a router may say the model late.
    void report_model(std::vector<RunEvent>& events) {
        auto const take = [](std::string& known, std::string_view now) {
            bool const news = !now.empty() && now != known;
            if (news) known.assign(now);
            return news;
        };
        bool const model = take(model_, chunk_.model);
        bool const fingerprint = take(system_fingerprint_, chunk_.system_fingerprint);
        bool const tier = take(service_tier_, chunk_.service_tier);
        if (!model && !fingerprint && !tier) return;
        if (model_.empty()) return;
        auto const body = [this](std::string const& text) { return kept_.clean_body(copy(text)); };
        events.emplace_back(chat::ModelReport{body(model_), body(system_fingerprint_), body(service_tier_)});
    }

    Choice* choice_of(int index) {
        auto const at =
            std::find_if(choices_.begin(), choices_.end(), [&](Choice const& c) { return c.index == index; });
        if (at != choices_.end()) return &*at;
        std::string().swap(head_); // it is an answer
        return index < kChoicesMax ? &choices_.emplace_back(index) : nullptr;
    }

    Result<> take_choice(ChunkChoice const& from, int position, std::vector<RunEvent>& events) {
        if (!from.error.empty()) return error_from_json(from.error);
        Choice* const choice = choice_of(from.index >= 0 ? from.index : position);
        if (choice == nullptr) return error_unreadable("it has more than 128 choices.", {});

        take_parts(from, choice->index, events);
        auto const calls = take_calls(from, *choice, events);
        if (!calls) return calls;
        take_fields(from, choice->index, events);

        if (from.finish_reason.empty()) return {};
        auto const reason = read_finish_reason(from.finish_reason);
        if (!reason) {
            return core::make_error(core::Errc::kUpstreamFailed, "The provider broke off its answer.", {},
                                    "finish_reason " + std::string(from.finish_reason));
        }
        choice->end_with(*reason);
        return {};
    }

    void take_parts(ChunkChoice const& from, int index, std::vector<RunEvent>& events) {
        std::string_view logprobs = clean_json(from.logprobs);
        for (std::size_t i = from.parts.begin; i < from.parts.end; ++i) {
            ChunkPart const& part = chunk_.parts[i];
            std::string_view const body = kept_.clean_body(part.body);
            if (part.kind == ChunkPart::Kind::kReasoning) {
                events.emplace_back(chat::ReasoningDelta{body, index});
            } else if (part.kind == ChunkPart::Kind::kRefusal) {
                events.emplace_back(chat::RefusalDelta{body, index});
            } else {
                events.emplace_back(chat::TextDelta{body, std::exchange(logprobs, {}), index});
            }
        }
        if (!logprobs.empty()) events.emplace_back(chat::TextDelta{{}, logprobs, index});
    }

    Result<> take_calls(ChunkChoice const& from, Choice& choice, std::vector<RunEvent>& events) {
        for (std::size_t i = from.calls.begin; i < from.calls.end; ++i) {
            ChunkToolCall const& call = chunk_.calls[i];
            ToolCallMerger::Piece piece{call.index, kept_.clean_body(call.id), kept_.clean_body(call.name), {}};
            piece.arguments =
                kept_.clean_body(call.arguments_are_json ? kept_.body_of(call.arguments) : call.arguments);
            if (!choice.calls.add(piece, answer_id_, kept_, events)) {
                return error_unreadable("it has more than 128 tool calls.", {});
            }
        }
        return {};
    }

    void take_fields(ChunkChoice const& from, int index, std::vector<RunEvent>& events) {
        for (std::size_t i = from.fields.begin; i < from.fields.end; ++i) {
            std::string_view const json = clean_json(chunk_.fields[i].json);
            if (!json.empty())
                events.emplace_back(chat::DeltaField{kept_.clean_body(chunk_.fields[i].name), json, index});
        }
    }

    /// JSON that is passed on whole is checked whole. Empty when it is not valid: an ornament that is broken is left
    /// out, it is no reason to lose the answer.
    std::string_view clean_json(std::string_view json) {
        if (json.empty() || core::check_json(json, kFieldDepthMax)) return json;
        return {};
    }

    /// Remembers a chunk that meant nothing but one text.
    void learn(std::string_view json, RunEvent const& event) {
        if (chunk_.choices.size() != 1 || chunk_.has_usage || !chunk_.choices.front().finish_reason.empty()) return;
        if (!chunk_.choices.front().logprobs.empty()) return;
        // Where each piece has a name, the next one may begin another call.
        if (std::ranges::any_of(chunk_.calls, [](auto const& call) { return !call.name.empty(); })) return;
        std::string_view const body = std::visit([](auto const& e) { return repeated_body(e); }, event);
        if (body.empty() || !is_inside(body, json)) return;
        template_.learn(json, body);
        repeated_ = event;
    }

    template <class Event>
    static std::string_view repeated_body(Event const& event) {
        if constexpr (std::is_same_v<Event, chat::ToolCallDelta>) {
            return event.name.empty() ? event.arguments : std::string_view{};
        } else if constexpr (requires { event.body; }) {
            return event.body;
        } else {
            return {};
        }
    }

    void pass_on(std::string_view body, std::vector<RunEvent>& events) {
        RunEvent& event = events.emplace_back(repeated_);
        if (auto* text = std::get_if<chat::TextDelta>(&event)) {
            text->body = body;
        } else if (auto* reasoning = std::get_if<chat::ReasoningDelta>(&event)) {
            reasoning->body = body;
        } else if (auto* refusal = std::get_if<chat::RefusalDelta>(&event)) {
            refusal->body = body;
        } else if (auto* call = std::get_if<chat::ToolCallDelta>(&event)) {
            call->arguments = body;
            choice_of(call->choice)->calls.passed_on(call->index, body);
        }
    }

    /// Ends and usage are said only here, once each: until then a second finish_reason, a late filter or a running
    /// count of tokens may still change them.
    Result<> complete(std::vector<RunEvent>& events) {
        if (choices_.empty()) return error_unreadable("it holds no choices.", head_);
        std::sort(choices_.begin(), choices_.end(), [](Choice const& a, Choice const& b) { return a.index < b.index; });
        for (auto const& choice : choices_) {
            if (!choice.calls.finish()) return error_unreadable("a tool call has no name.", {});
            events.emplace_back(chat::ChoiceEnd{choice.final_end(), choice.index});
        }
        if (usage_) events.emplace_back(chat::UsageReport{*usage_});
        done_ = true;
        return {};
    }

    Shape shape_ = Shape::kUnknown;
    bool done_ = false;
    std::string head_; // the first bytes, for the log; none once there is a choice
    std::string body_; // of a JSON answer
    net::SseReader reader_;
    Chunk& chunk_ = thread_chunk(); // of this feed
    RepeatTemplate template_;
    RunEvent repeated_; // what template_ means; its views are dead, the text is put in anew
    // From the heap and back for a feed that needs it, which few do: a stream that waits holds none.
    std::pmr::monotonic_buffer_resource memory_{kCopiedBytesUsual};
    KeptText kept_;

    std::string answer_id_;
    std::string model_;
    std::string system_fingerprint_;
    std::string service_tier_;
    std::optional<chat::Usage> usage_;
    std::vector<Choice> choices_;
};

} // namespace

std::unique_ptr<Decoder> make_chat_decoder() {
    return std::make_unique<ChatDecoder>();
}

} // namespace parley::providers

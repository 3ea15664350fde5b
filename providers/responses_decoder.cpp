// The Responses API's event stream as chat events. The items are read by responses_items.cpp; here are the frame, the
// beginning, the end and the errors. One per model call, runs on its loop.
#include "providers/responses_decoder.hpp"

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "net/sse.hpp"
#include "providers/json_text.hpp"
#include "providers/kept_text.hpp"
#include "providers/provider_error.hpp"
#include "providers/responses_items.hpp"

namespace parley::providers {

namespace {

constexpr std::size_t kBodyBytesMax = 64 * 1024 * 1024; // of an answer that is not a stream
constexpr std::size_t kQuotedBytesMax = 1024;           // of a body that is no answer at all, for the log

class ResponsesDecoder final : public Decoder {
public:
    core::Result<> feed(std::string_view bytes, std::vector<chat::RunEvent>& events) override;
    core::Result<> finish(std::vector<chat::RunEvent>& events) override;
    bool done() const noexcept override { return done_; }

private:
    enum class Form { kUnknown, kStream, kObject };

    core::Result<> read_stream(std::string_view bytes, std::vector<chat::RunEvent>& events);
    core::Result<> read_event(net::SseEvent const& event, std::vector<chat::RunEvent>& events);
    core::Result<> read_response(std::string_view json, std::string_view status, std::vector<chat::RunEvent>& events);
    core::Result<> read_end(JsonMembers const& response, chat::FinishReason reason,
                            std::vector<chat::RunEvent>& events);
    void read_head(JsonMembers const& response, std::vector<chat::RunEvent>& events);
    core::Result<chat::Usage> read_usage(std::string_view json);

    Form form_ = Form::kUnknown;
    bool done_ = false;
    bool model_told_ = false;
    std::string body_; // the object; of a stream only its start, until it is known to be one
    net::SseReader reader_;
    JsonSlicer slicer_;
    KeptText kept_;
    ResponseItems items_{kept_};
};

core::Result<> ResponsesDecoder::feed(std::string_view bytes, std::vector<chat::RunEvent>& events) {
    kept_.clear();
    if (done_) return {};
    if (form_ == Form::kUnknown) {
        std::size_t const first = bytes.find_first_not_of(" \t\r\n");
        if (first == std::string_view::npos) return {};
        bytes.remove_prefix(first);
        form_ = bytes.front() == '{' ? Form::kObject : Form::kStream;
    }
    if (form_ == Form::kStream) return read_stream(bytes, events);
    if (body_.size() + bytes.size() > kBodyBytesMax) return error_unreadable("the body is too long", body_);
    body_ += bytes;
    return {};
}

core::Result<> ResponsesDecoder::read_stream(std::string_view bytes, std::vector<chat::RunEvent>& events) {
    reader_.feed(bytes);
    if (!reader_.recognised() && body_.size() < kQuotedBytesMax) body_ += bytes.substr(0, kQuotedBytesMax);
    net::SseEvent event;
    while (!done_) {
        auto const next = reader_.next(event);
        if (!next) return next.error();
        if (!*next) break;
        // What lies in `bytes` stays until all is read; the reader's own memory does not.
        std::less<char const*> const before;
        bool const stays =
            !before(event.data.data(), bytes.data()) && before(event.data.data(), bytes.data() + bytes.size());
        if (!stays) event.data = kept_.keep(std::string(event.data));
        auto const read = read_event(event, events);
        if (!read) return read.error();
    }
    if (reader_.recognised() && !body_.empty()) std::string().swap(body_);
    return {};
}

core::Result<> ResponsesDecoder::finish(std::vector<chat::RunEvent>& events) {
    kept_.clear();
    if (done_) return {};
    if (form_ == Form::kObject) {
        auto const read = read_response(body_, {}, events);
        if (!read) return read.error();
    } else if (form_ == Form::kStream) {
        net::SseEvent event;
        auto const last = reader_.finish(event);
        if (!last) return last.error();
        if (!reader_.recognised()) return error_unreadable("neither an event stream nor JSON", body_);
        // An event without its empty line may be cut off: only a whole one counts.
        if (*last && slicer_.members(event.data)) {
            event.data = kept_.keep(std::string(event.data));
            auto const read = read_event(event, events);
            if (!read) return read.error();
        }
    }
    if (!done_) return error_truncated();
    return {};
}

core::Result<> ResponsesDecoder::read_event(net::SseEvent const& event, std::vector<chat::RunEvent>& events) {
    std::string_view data = event.data;
    if (data.empty()) return {};
    if (data == "[DONE]") return error_truncated(); // the end without a final event
    auto members = slicer_.members(data);
    if (!members && !core::is_valid_utf8(data)) {
        data = kept_.keep(core::repair_utf8(data));
        members = slicer_.members(data);
    }
    if (!members) return error_unreadable("an event that is not a JSON object", data);

    std::string_view type = string_body(find_member(*members, "type"));
    if (type.empty()) type = event.event;
    if (type == "error" || (type.empty() && !find_member(*members, "error").empty())) return error_from_json(data);

    constexpr std::string_view kPrefix = "response.";
    if (!type.starts_with(kPrefix)) return {};
    type.remove_prefix(kPrefix.size());
    std::string_view const response = find_member(*members, "response");
    if (type == "created" || type == "in_progress" || type == "queued") {
        auto const head = slicer_.members(response);
        if (head) read_head(*head, events);
        return {};
    }
    if (type == "completed" || type == "incomplete" || type == "failed") return read_response(response, type, events);
    if (find_member(*members, "output_index").empty()) return {};
    return items_.read_event(type, *members, events);
}

/// A whole Response. `status` overrides the one inside, which a streamed one may still have from its beginning.
core::Result<> ResponsesDecoder::read_response(std::string_view json, std::string_view status,
                                               std::vector<chat::RunEvent>& events) {
    auto members = slicer_.members(json);
    if (!members && !core::is_valid_utf8(json)) {
        json = kept_.keep(core::repair_utf8(json));
        members = slicer_.members(json);
    }
    if (!members) {
        std::size_t const last = json.find_last_not_of(" \t\r\n");
        bool const cut = last != std::string_view::npos && json[last] != '}';
        return cut ? error_truncated() : error_unreadable("a response that is not a JSON object", json);
    }
    if (status.empty()) status = string_body(find_member(*members, "status"));
    std::string_view const error = find_member(*members, "error");
    if (status == "failed" || !error.empty()) return error.empty() ? error_from_code({}, {}) : error_from_json(error);
    if (status == "completed") {
        read_head(*members, events);
        return read_end(*members, chat::FinishReason::kStop, events);
    }
    if (status == "incomplete") {
        read_head(*members, events);
        auto const details = slicer_.members(find_member(*members, "incomplete_details"));
        std::string_view const reason = details ? string_body(find_member(*details, "reason")) : std::string_view{};
        return read_end(*members,
                        reason == "content_filter" ? chat::FinishReason::kContentFilter : chat::FinishReason::kLength,
                        events);
    }
    return error_unreadable("a response that is neither completed nor failed", json);
}

core::Result<> ResponsesDecoder::read_end(JsonMembers const& response, chat::FinishReason reason,
                                          std::vector<chat::RunEvent>& events) {
    auto const read = items_.read_output(find_member(response, "output"), events);
    if (!read) return read.error();
    if (reason == chat::FinishReason::kStop && items_.calls() > 0) reason = chat::FinishReason::kToolCalls;
    events.emplace_back(chat::ChoiceEnd{reason});
    if (auto const json = find_member(response, "usage"); is_object(json)) {
        auto const usage = read_usage(json);
        if (!usage) return usage.error();
        events.emplace_back(chat::UsageReport{*usage});
    }
    done_ = true;
    return {};
}

void ResponsesDecoder::read_head(JsonMembers const& response, std::vector<chat::RunEvent>& events) {
    std::string_view const model = string_body(find_member(response, "model"));
    if (model_told_ || model.empty()) return;
    model_told_ = true;
    std::string_view const tier = string_body(find_member(response, "service_tier"));
    events.emplace_back(chat::ModelReport{kept_.clean_body(model), {}, kept_.clean_body(tier)});
}

core::Result<chat::Usage> ResponsesDecoder::read_usage(std::string_view json) {
    auto const members = slicer_.members(json);
    if (!members) return error_unreadable("usage that is not an object", json);
    auto count = [](JsonMembers const& from, std::string_view name) {
        return std::max<std::int64_t>(0, read_integer(find_member(from, name)).value_or(0));
    };
    chat::Usage usage;
    usage.prompt_tokens = count(*members, "input_tokens");
    usage.completion_tokens = count(*members, "output_tokens");
    if (auto const input = slicer_.members(find_member(*members, "input_tokens_details"))) {
        usage.cached_tokens = count(*input, "cached_tokens");
        usage.cache_write_tokens = count(*input, "cache_write_tokens");
    }
    if (auto const output = slicer_.members(find_member(*members, "output_tokens_details")))
        usage.reasoning_tokens = count(*output, "reasoning_tokens");
    return usage;
}

} // namespace

std::unique_ptr<Decoder> make_responses_decoder() {
    return std::make_unique<ResponsesDecoder>();
}

} // namespace parley::providers

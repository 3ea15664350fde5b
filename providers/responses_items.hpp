// What is known of each output item of one Response, and the events that are still to be said of it.
// Owned by one ResponsesDecoder; single-threaded.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "chat/run_event.hpp"
#include "core/result.hpp"
#include "providers/json_text.hpp"
#include "providers/kept_text.hpp"

namespace parley::providers {

class ResponseItems {
public:
    using Events = std::vector<chat::RunEvent>;

    explicit ResponseItems(KeptText& kept) : kept_(kept) {}

    /// An event that has `output_index`; `type` without `response.`. Other types are passed over.
    /// Errors: kUpstreamInvalid.
    core::Result<> read_event(std::string_view type, JsonMembers const& event, Events& events);

    /// The whole of `output`, where no event has told of its items. Errors: kUpstreamInvalid.
    core::Result<> read_output(std::string_view output, Events& events);

    int calls() const noexcept { return calls_; }

private:
    struct Item {
        std::int64_t output_index = 0;
        std::int64_t text_part = -1;    // the last part of `content` whose text was said
        std::int64_t thought_part = -1; // the same of a reasoning item's `content`
        std::int64_t summary_part = -1; // the same of its `summary`
        int call = -1;                  // index of the tool call, -1 = it is none, or its name is not known yet
        bool arguments_said = false;
        bool annotated = false;
    };

    core::Result<Item*> item_at(std::int64_t output_index);
    core::Result<> read_item(Item& item, std::string_view json, bool complete, Events& events);
    core::Result<> read_content(Item& item, std::string_view content, Events& events);
    core::Result<> read_thoughts(std::int64_t& part, std::string_view list, Events& events);
    void say_reasoning_item(JsonMembers const& item, Events& events);
    void say_text(Item& item, std::int64_t part, std::string_view text, std::string_view logprobs, Events& events);
    void say_refusal(Item& item, std::int64_t part, std::string_view text, Events& events);
    void say_thought(std::int64_t& last, std::int64_t part, std::string_view text, Events& events);
    bool say_call(Item& item, JsonMembers const& call, Events& events);
    void say_arguments(Item& item, std::string_view arguments, Events& events);
    void say_annotations(std::string_view list, Events& events);
    std::string chat_annotation(std::string_view annotation);
    std::string_view chat_logprobs(std::string_view logprobs);

    KeptText& kept_;
    JsonSlicer slicer_;
    std::vector<Item> items_;
    int calls_ = 0;
    bool text_said_ = false;
    bool thought_said_ = false;
};

} // namespace parley::providers

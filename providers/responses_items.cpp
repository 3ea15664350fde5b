// Output items become deltas of one chat message. Each text can come up to three times (delta, done, whole item);
// it is said once. Runs on the loop of the model call.
#include "providers/responses_items.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/json.hpp"
#include "providers/provider_error.hpp"

namespace parley::providers {

namespace {

constexpr std::size_t kItemsMax = 1024;            // of one answer; more is no sane model
constexpr std::size_t kPassedDepthMax = 64;        // of provider JSON that is sent on as it is
constexpr std::string_view kParagraph = R"(\n\n)"; // string body

std::int64_t number(JsonMembers const& members, std::string_view name) {
    return read_integer(find_member(members, name)).value_or(0);
}

} // namespace

core::Result<ResponseItems::Item*> ResponseItems::item_at(std::int64_t output_index) {
    auto const found = std::find_if(items_.rbegin(), items_.rend(),
                                    [output_index](Item const& item) { return item.output_index == output_index; });
    if (found != items_.rend()) return &*found;
    if (items_.size() == kItemsMax) return error_unreadable("too many output items", {});
    items_.push_back({output_index});
    return &items_.back();
}

core::Result<> ResponseItems::read_event(std::string_view type, JsonMembers const& event, Events& events) {
    auto const found = item_at(number(event, "output_index"));
    if (!found) return found.error();
    Item& item = **found;
    std::int64_t const part = number(event, "content_index");
    std::int64_t const summary_part = number(event, "summary_index");

    if (type == "output_text.delta") {
        say_text(item, part, find_member(event, "delta"), find_member(event, "logprobs"), events);
    } else if (type == "output_text.done") {
        if (part > item.text_part) say_text(item, part, find_member(event, "text"), {}, events);
    } else if (type == "refusal.delta") {
        say_refusal(item, part, find_member(event, "delta"), events);
    } else if (type == "refusal.done") {
        if (part > item.text_part) say_refusal(item, part, find_member(event, "refusal"), events);
    } else if (type == "reasoning_summary_text.delta") {
        say_thought(item.summary_part, summary_part, find_member(event, "delta"), events);
    } else if (type == "reasoning_summary_text.done") {
        if (summary_part > item.summary_part)
            say_thought(item.summary_part, summary_part, find_member(event, "text"), events);
    } else if (type == "reasoning_text.delta") {
        say_thought(item.thought_part, part, find_member(event, "delta"), events);
    } else if (type == "reasoning_text.done") {
        if (part > item.thought_part) say_thought(item.thought_part, part, find_member(event, "text"), events);
    } else if (type == "function_call_arguments.delta") {
        say_arguments(item, find_member(event, "delta"), events);
    } else if (type == "function_call_arguments.done") {
        if (!item.arguments_said) say_arguments(item, find_member(event, "arguments"), events);
    } else if (type == "output_text.annotation.added") {
        item.annotated = true;
        say_annotations(find_member(event, "annotation"), events);
    } else if (type == "output_item.added" || type == "output_item.done") {
        return read_item(item, find_member(event, "item"), type == "output_item.done", events);
    }
    return {};
}

core::Result<> ResponseItems::read_output(std::string_view output, Events& events) {
    if (!items_.empty() || is_empty_json(output)) return {};
    auto const elements = slicer_.elements(output);
    if (!elements) return error_unreadable("output is not an array", output);
    for (std::size_t i = 0; i < elements->size(); ++i) {
        auto const item = item_at(static_cast<std::int64_t>(i));
        if (!item) return item.error();
        auto const read = read_item(**item, (*elements)[i], true, events);
        if (!read) return read.error();
    }
    return {};
}

/// `complete` = the item is over: what of it has not been said is said now.
core::Result<> ResponseItems::read_item(Item& item, std::string_view json, bool complete, Events& events) {
    auto const members = slicer_.members(json);
    if (!members) return error_unreadable("an output item that is not an object", json);
    std::string_view const type = string_body(find_member(*members, "type"));
    if (type == "function_call") {
        bool const known = say_call(item, *members, events);
        if (!known && complete) return error_unreadable("a function call without call_id or name", json);
        if (!item.arguments_said) say_arguments(item, find_member(*members, "arguments"), events);
    } else if (complete && type == "message") {
        return read_content(item, find_member(*members, "content"), events);
    } else if (complete && type == "reasoning") {
        auto const summary = read_thoughts(item.summary_part, find_member(*members, "summary"), events);
        if (!summary) return summary.error();
        say_reasoning_item(*members, events);
        return read_thoughts(item.thought_part, find_member(*members, "content"), events);
    }
    return {};
}

core::Result<> ResponseItems::read_content(Item& item, std::string_view content, Events& events) {
    if (is_empty_json(content)) return {};
    auto const parts = slicer_.elements(content);
    if (!parts) return error_unreadable("content of a message is not an array", content);
    bool const tell_annotations = !item.annotated;
    for (std::size_t i = 0; i < parts->size(); ++i) {
        auto const members = slicer_.members((*parts)[i]);
        if (!members) return error_unreadable("a part of a message is not an object", (*parts)[i]);
        auto const part = static_cast<std::int64_t>(i);
        bool const said = part <= item.text_part;
        std::string_view const type = string_body(find_member(*members, "type"));
        if (!said && type == "output_text")
            say_text(item, part, find_member(*members, "text"), find_member(*members, "logprobs"), events);
        if (!said && type == "refusal") say_refusal(item, part, find_member(*members, "refusal"), events);
        if (tell_annotations) say_annotations(find_member(*members, "annotations"), events);
    }
    item.annotated = true;
    return {};
}

/// What the model wants back before its calls: only there when it was asked for. What is not valid is left out.
void ResponseItems::say_reasoning_item(JsonMembers const& item, Events& events) {
    std::string_view const encrypted = find_member(item, "encrypted_content");
    if (!is_string(encrypted)) return;
    std::string json = "[";
    ObjectText object(json);
    object.text("type", "reasoning");
    if (auto const id = find_member(item, "id"); is_string(id)) object.raw("id", id);
    auto const summary = find_member(item, "summary");
    object.raw("summary", is_array(summary) ? summary : std::string_view("[]"));
    object.raw("encrypted_content", encrypted);
    object.close();
    json += ']';
    if (!core::check_json(json, kPassedDepthMax)) return;
    events.emplace_back(chat::DeltaField{"reasoning_items", kept_.keep(std::move(json))});
}

core::Result<> ResponseItems::read_thoughts(std::int64_t& part, std::string_view list, Events& events) {
    if (is_empty_json(list)) return {};
    auto const parts = slicer_.elements(list);
    if (!parts) return error_unreadable("reasoning that is not an array", list);
    for (auto i = part + 1; i < static_cast<std::int64_t>(parts->size()); ++i) {
        std::string_view const json = (*parts)[static_cast<std::size_t>(i)];
        auto const members = slicer_.members(json);
        if (!members) return error_unreadable("a part of the reasoning is not an object", json);
        say_thought(part, i, find_member(*members, "text"), events);
    }
    return {};
}

void ResponseItems::say_text(Item& item, std::int64_t part, std::string_view text, std::string_view logprobs,
                             Events& events) {
    std::string_view const body = string_body(text);
    if (body.empty()) return;
    if (text_said_ && item.text_part < 0) events.emplace_back(chat::TextDelta{kParagraph});
    text_said_ = true;
    item.text_part = std::max(item.text_part, part);
    events.emplace_back(chat::TextDelta{kept_.clean_body(body), chat_logprobs(logprobs)});
}

void ResponseItems::say_refusal(Item& item, std::int64_t part, std::string_view text, Events& events) {
    std::string_view const body = string_body(text);
    if (body.empty()) return;
    item.text_part = std::max(item.text_part, part);
    events.emplace_back(chat::RefusalDelta{kept_.clean_body(body)});
}

void ResponseItems::say_thought(std::int64_t& last, std::int64_t part, std::string_view text, Events& events) {
    std::string_view const body = string_body(text);
    if (body.empty()) return;
    if (thought_said_ && part > last) events.emplace_back(chat::ReasoningDelta{kParagraph});
    thought_said_ = true;
    last = std::max(last, part);
    events.emplace_back(chat::ReasoningDelta{kept_.clean_body(body)});
}

/// False when id or name is not known yet.
bool ResponseItems::say_call(Item& item, JsonMembers const& call, Events& events) {
    if (item.call >= 0) return true;
    std::string_view const id = string_body(find_member(call, "call_id"));
    std::string_view const name = string_body(find_member(call, "name"));
    if (id.empty() || name.empty()) return false;
    item.call = calls_++;
    events.emplace_back(chat::ToolCallDelta{item.call, kept_.clean_body(id), kept_.clean_body(name)});
    return true;
}

/// Arguments that come before the call's name wait for `output_item.done`, which repeats them.
void ResponseItems::say_arguments(Item& item, std::string_view arguments, Events& events) {
    std::string_view const body = string_body(arguments);
    if (item.call < 0 || body.empty()) return;
    item.arguments_said = true;
    events.emplace_back(chat::ToolCallDelta{item.call, {}, {}, kept_.clean_body(body)});
}

/// `list`: an array of annotations, or one of them.
void ResponseItems::say_annotations(std::string_view list, Events& events) {
    if (is_empty_json(list) || !core::check_json(list, kPassedDepthMax)) return;
    std::string value = "[";
    if (is_object(list)) {
        value += chat_annotation(list);
    } else if (auto const annotations = slicer_.elements(list)) {
        for (std::string_view const annotation : *annotations) {
            if (!is_object(annotation)) continue;
            if (value.size() > 1) value += ',';
            value += chat_annotation(annotation);
        }
    }
    if (value.size() == 1) return;
    value += ']';
    events.emplace_back(chat::DeltaField{"annotations", kept_.keep(std::move(value))});
}

/// {"type": T, a, b} as {"type": T, T: {a, b}}: the form of chat completions.
std::string ResponseItems::chat_annotation(std::string_view annotation) {
    std::string out;
    auto const members = slicer_.members(annotation);
    if (!members) return "{}"; // not reached: the whole was checked
    std::string_view const type = string_body(find_member(*members, "type"));
    ObjectText object(out);
    object.body("type", type);
    ObjectText inner(object.name(type.empty() || type == "type" ? "annotation" : type));
    for (auto const& member : *members) {
        if (member.name != "type") inner.raw(member.name, member.json);
    }
    inner.close();
    object.close();
    return out;
}

std::string_view ResponseItems::chat_logprobs(std::string_view logprobs) {
    if (is_empty_json(logprobs) || !core::check_json(logprobs, kPassedDepthMax)) return {};
    return kept_.keep(fmt::format(R"({{"content":{},"refusal":null}})", logprobs));
}

} // namespace parley::providers

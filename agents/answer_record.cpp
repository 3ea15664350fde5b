#include "agents/answer_record.hpp"

#include <algorithm>
#include <utility>
#include <variant>

#include "core/json.hpp"

namespace parley::agents {

void AnswerRecord::take(std::vector<chat::RunEvent>& events, std::size_t from) {
    auto kept = from;
    for (auto i = from; i < events.size(); ++i) {
        if (keep(events[i])) events[kept++] = events[i];
    }
    events.resize(kept);
}

void AnswerRecord::release(std::vector<chat::RunEvent>& events) const {
    events.insert(events.end(), ends_.begin(), ends_.end());
    events.insert(events.end(), reports_.begin(), reports_.end());
}

bool AnswerRecord::keep(chat::RunEvent const& event) {
    if (auto const* const text = std::get_if<chat::TextDelta>(&event)) {
        if (text->choice == 0) text_ += text->body;
    } else if (auto const* const refusal = std::get_if<chat::RefusalDelta>(&event)) {
        if (refusal->choice == 0) refusal_ += refusal->body;
    } else if (auto const* const thought = std::get_if<chat::ReasoningDelta>(&event)) {
        if (thought->choice == 0) reasoning_ += thought->body;
    } else if (auto const* const field = std::get_if<chat::DeltaField>(&event)) {
        if (field->choice == 0 && field->name == "reasoning_details") details_.emplace_back(field->json);
    } else if (auto const* const call = std::get_if<chat::ToolCallDelta>(&event)) {
        if (call->choice == 0) take_call(*call);
    } else if (auto const* const model = std::get_if<chat::ModelReport>(&event)) {
        model_ = model->model;
    } else if (auto const* const end = std::get_if<chat::ChoiceEnd>(&event)) {
        if (end->choice == 0) reason_ = end->reason;
        ends_.push_back(*end);
        return false;
    } else if (auto const* const report = std::get_if<chat::UsageReport>(&event)) {
        usage_ = report->usage; // the last one is of the whole run
        last_prompt_tokens_ = report->agent ? report->agent->last_prompt_tokens : report->usage.prompt_tokens;
        reports_.push_back(*report);
        return false;
    }
    return true;
}

void AnswerRecord::take_call(chat::ToolCallDelta const& delta) {
    auto known = std::ranges::find(calls_, delta.index, &Call::index);
    if (known == calls_.end())
        known = calls_.insert(known, {delta.index, std::string(delta.id), std::string(delta.name), {}});
    known->arguments += delta.arguments;
}

std::string AnswerRecord::text() const {
    return core::json_body_to_text(text_);
}

std::string AnswerRecord::model() const {
    return core::json_body_to_text(model_);
}

std::string AnswerRecord::calls() const {
    std::string out;
    for (auto const& call : calls_) {
        out += out.empty() ? "[" : ",";
        out += R"({"id":")" + call.id + R"(","function":{"name":")" + call.name + R"("}})";
    }
    return out.empty() ? out : out + "]";
}

std::vector<LoopMessage> AnswerRecord::messages() const {
    auto const& said = text_.empty() ? refusal_ : text_;
    if (calls_.empty()) {
        if (said.empty()) return {};
        return {plain_message(chat::Role::kAssistant, '"' + said + '"')};
    }
    std::vector<MessageCall> calls;
    for (auto const& call : calls_)
        calls.push_back({call.id, call.name, call.arguments});
    return {assistant_message(said, calls, reasoning_, details_, {})};
}

} // namespace parley::agents

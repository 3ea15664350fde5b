#include "agents/round_record.hpp"

#include <algorithm>
#include <variant>

#include "core/json.hpp"

namespace parley::agents {
namespace {

// Reasoning is sent back as a courtesy to the model; more of it than this is not worth its tokens.
constexpr std::size_t kReasoningBytesMax = 1U << 20U;

} // namespace

void RoundRecord::begin(bool tools_off) {
    tools_off_ = tools_off;
    model_told_ = !first_round_;
    first_round_ = false;
    restart();
}

void RoundRecord::restart() {
    text_.clear();
    reasoning_.clear();
    details_.clear();
    items_.clear();
    calls_.clear();
    ids_.clear();
    client_calls_ = 0;
    reason_ = chat::FinishReason::kStop;
}

void RoundRecord::take(std::vector<chat::RunEvent>& events, std::size_t from, std::vector<chat::Usage>& usage) {
    auto kept = from;
    for (auto i = from; i < events.size(); ++i) {
        if (keep(events[i], usage)) events[kept++] = events[i];
    }
    events.resize(kept);
}

bool RoundRecord::keep(chat::RunEvent& event, std::vector<chat::Usage>& usage) {
    if (auto const* const text = std::get_if<chat::TextDelta>(&event)) {
        text_ += text->body;
    } else if (auto const* const thought = std::get_if<chat::ReasoningDelta>(&event)) {
        if (reasoning_.size() < kReasoningBytesMax) reasoning_ += thought->body;
    } else if (auto* const call = std::get_if<chat::ToolCallDelta>(&event)) {
        return keep_call(*call);
    } else if (auto const* const field = std::get_if<chat::DeltaField>(&event)) {
        if (field->name == "reasoning_details") details_.emplace_back(field->json);
        if (field->name == "reasoning_items") { // for the provider only
            items_.emplace_back(field->json);
            return false;
        }
    } else if (auto const* const end = std::get_if<chat::ChoiceEnd>(&event)) {
        reason_ = end->reason;
        return false;
    } else if (auto const* const report = std::get_if<chat::UsageReport>(&event)) {
        usage.push_back(report->usage);
        return false;
    } else if (std::holds_alternative<chat::ModelReport>(event)) {
        return !model_told_;
    }
    return true;
}

bool RoundRecord::keep_call(chat::ToolCallDelta& delta) {
    if (tools_off_) return false;
    auto const known =
        std::find_if(calls_.begin(), calls_.end(), [&](Call const& call) { return call.index == delta.index; });
    if (known != calls_.end()) {
        known->arguments += delta.arguments;
        delta.index = known->client_index;
        return known->client_index >= 0;
    }
    auto& call = calls_.emplace_back();
    call.id = unused_id(delta.id);
    call.name = delta.name;
    call.arguments = delta.arguments;
    call.index = delta.index;
    if (!client_tools_.contains(core::json_body_to_text(call.name))) return false;
    call.client_index = static_cast<int>(client_calls_++);
    delta.index = call.client_index;
    delta.id = ids_.emplace_back(call.id);
    return true;
}

// Some providers count their calls anew in every answer; within a run an id must mean one call.
std::string RoundRecord::unused_id(std::string_view id) {
    std::string candidate(id.empty() ? std::string_view("call") : id);
    auto const plain = candidate;
    for (std::size_t n = 2; !used_ids_.insert(candidate).second; ++n)
        candidate = plain + "_" + std::to_string(n);
    return candidate;
}

LoopMessage RoundRecord::message() const {
    std::vector<MessageCall> calls;
    for (auto const& call : calls_)
        calls.push_back({call.id, call.name, call.arguments});
    return assistant_message(text_, calls, reasoning_, details_, items_);
}

} // namespace parley::agents

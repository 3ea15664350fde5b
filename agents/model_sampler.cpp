#include "agents/model_sampler.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <utility>
#include <variant>

#include "agents/loop_messages.hpp"
#include "agents/model_call.hpp"
#include "core/json.hpp"

namespace parley::agents {
namespace {

namespace json = boost::json;
using core::Errc;
using core::make_error;

constexpr std::size_t kMessagesMax = 200;
constexpr std::int64_t kTokensMax = 1'000'000;

core::Error not_understood(std::string what) {
    return make_error(Errc::kInvalidValue, std::move(what));
}

std::string_view text_in(json::object const& object, std::string_view key) {
    auto const* const value = object.if_contains(key);
    auto const* const text = value ? value->if_string() : nullptr;
    return text ? std::string_view(text->data(), text->size()) : std::string_view();
}

// One content block in OpenAI's form.
core::Result<json::object> part_of(json::value const& block) {
    static json::object const none;
    auto const& object = block.is_object() ? block.get_object() : none;
    auto const type = text_in(object, "type");
    if (type == "text") return json::object{{"type", "text"}, {"text", text_in(object, "text")}};
    if (type == "image") {
        auto url =
            "data:" + std::string(text_in(object, "mimeType")) + ";base64," + std::string(text_in(object, "data"));
        return json::object{{"type", "image_url"}, {"image_url", json::object{{"url", std::move(url)}}}};
    }
    return not_understood("content of messages: text and image are understood");
}

core::Result<LoopMessage> message_of(json::value const& given) {
    auto const* const object = given.if_object();
    auto const role = object ? text_in(*object, "role") : std::string_view();
    if (role != "user" && role != "assistant") return not_understood("role of a message: user or assistant");
    auto const* const content = object->if_contains("content");
    if (content == nullptr) return not_understood("a message without content");
    auto const kind = role == "user" ? chat::Role::kUser : chat::Role::kAssistant;
    // The usual case, which every model understands.
    if (content->is_object() && text_in(content->get_object(), "type") == "text")
        return plain_message(kind, json::serialize(json::value(text_in(content->get_object(), "text"))));
    json::array parts;
    auto const& blocks = content->is_array() ? content->get_array() : json::array{*content};
    for (auto const& block : blocks) {
        auto part = part_of(block);
        if (!part) return part.error();
        parts.push_back(std::move(*part));
    }
    return plain_message(kind, json::serialize(parts));
}

// The turn of a sampling request. Owns all text that `turn` points into.
struct Asked {
    std::vector<LoopMessage> owned;
    std::vector<chat::Message> messages;
    std::vector<std::pair<std::string, std::string>> values; // names and JSON of settings
    std::vector<chat::Setting> settings;

    chat::Turn turn() {
        for (auto const& one : owned)
            messages.push_back(one.view());
        for (auto const& [name, value] : values)
            settings.push_back({name, value});
        return {.messages = messages, .settings = settings};
    }
};

core::Result<Asked> asked_of(json::object const& params) {
    Asked asked;
    if (params.contains("tools")) return not_understood("tools: not offered for sampling");
    if (auto const prompt = text_in(params, "systemPrompt"); !prompt.empty())
        asked.owned.push_back(plain_message(chat::Role::kSystem, json::serialize(json::value(prompt))));
    auto const* const list = params.if_contains("messages");
    auto const* const messages = list ? list->if_array() : nullptr;
    if (messages == nullptr || messages->empty() || messages->size() > kMessagesMax)
        return not_understood("messages: 1 to " + std::to_string(kMessagesMax) + " of them");
    for (auto const& given : *messages) {
        auto message = message_of(given);
        if (!message) return message.error();
        asked.owned.push_back(std::move(*message));
    }
    auto const* const limit = params.if_contains("maxTokens");
    auto const tokens = limit && limit->is_int64() ? limit->get_int64() : 0;
    if (tokens < 1 || tokens > kTokensMax) return not_understood("maxTokens: a whole number from 1");
    asked.values.emplace_back("max_tokens", std::to_string(tokens));
    if (auto const* const value = params.if_contains("temperature"); value && value->is_number()) {
        auto const temperature = std::clamp(value->to_number<double>(), 0.0, 2.0);
        asked.values.emplace_back("temperature", json::serialize(json::value(temperature)));
    }
    if (auto const* const stops = params.if_contains("stopSequences"); stops && stops->is_array()) {
        json::array kept; // OpenAI takes four
        for (auto const& stop : stops->get_array())
            if (stop.is_string() && !stop.get_string().empty() && kept.size() < 4) kept.push_back(stop);
        if (!kept.empty()) asked.values.emplace_back("stop", json::serialize(kept));
    }
    return asked;
}

std::string_view stop_reason(chat::FinishReason reason) {
    switch (reason) {
        case chat::FinishReason::kLength:
            return "maxTokens";
        case chat::FinishReason::kContentFilter:
            return "contentFilter";
        case chat::FinishReason::kStop:
        case chat::FinishReason::kToolCalls:
            break;
    }
    return "endTurn";
}

} // namespace

core::Task<json::object> ModelSampler::create_message(core::Context const& context, mcp::ServerSpec const& spec,
                                                      json::object params) {
    auto const catalogue = catalogue_; // of the whole call, whatever is reloaded meanwhile
    auto const* const agent = catalogue->find(spec.sampling);
    if (agent == nullptr || agent->candidates.empty())
        co_return make_error(Errc::kAgentUnavailable, "The agent '" + spec.sampling + "' is not available.");
    auto asked = asked_of(params);
    if (!asked) co_return asked.error();
    auto const turn = asked->turn();
    ModelCall call(session_, context, *agent);
    std::string body; // of a JSON string
    std::string model = call.answered_by().model_name;
    auto reason = chat::FinishReason::kStop;
    for (auto more = true; more;) {
        std::vector<chat::RunEvent> events;
        auto const next = co_await call.next(turn, events);
        if (!next) co_return next.error();
        more = *next;
        for (auto const& event : events) {
            if (auto const* const text = std::get_if<chat::TextDelta>(&event)) body += text->body;
            if (auto const* const refusal = std::get_if<chat::RefusalDelta>(&event)) body += refusal->body;
            if (auto const* const end = std::get_if<chat::ChoiceEnd>(&event)) reason = end->reason;
            auto const* const report = std::get_if<chat::ModelReport>(&event);
            if (report && !report->model.empty()) model = core::json_body_to_text(report->model);
        }
    }
    if (on_sampled_) on_sampled_({spec.label, spec.sampling, call.usage()});
    json::object content{{"type", "text"}, {"text", core::json_body_to_text(body)}};
    json::object result{{"role", "assistant"},
                        {"content", std::move(content)},
                        {"model", std::move(model)},
                        {"stopReason", stop_reason(reason)}};
    co_return std::move(result);
}

} // namespace parley::agents

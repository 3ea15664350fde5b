#include "agents/given_answer.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <map>
#include <string_view>
#include <utility>

#include "core/json.hpp"
#include "core/json_tree.hpp"

namespace parley::agents {
namespace {

namespace json = boost::json;

json::value const* member(json::object const& object, std::string_view key) {
    return object.if_contains(key);
}

std::string_view text_of(json::object const& object, std::string_view key) {
    auto const* const value = member(object, key);
    auto const* const text = value != nullptr ? value->if_string() : nullptr;
    return text != nullptr ? std::string_view(text->data(), text->size()) : std::string_view{};
}

class Telling {
public:
    Telling(GivenAnswer& out, json::array const& messages) : out_(out), messages_(messages) {
        for (auto const& one : messages_) {
            auto const* const message = one.if_object();
            if (message != nullptr && text_of(*message, "role") == "tool")
                results_[text_of(*message, "tool_call_id")] = text_of(*message, "content");
        }
    }

    void tell() {
        for (auto const& one : messages_) {
            auto const* const message = one.if_object();
            if (message == nullptr || text_of(*message, "role") != "assistant") continue;
            if (auto const text = text_of(*message, "content"); !text.empty())
                out_.events.emplace_back(chat::TextDelta{body(text)});
            auto const* const calls = member(*message, "tool_calls");
            if (calls == nullptr || !calls->is_array()) continue;
            for (auto const& call : calls->get_array())
                if (call.is_object()) tell_call(call.get_object());
        }
    }

private:
    std::string_view made(std::string text) { return out_.made.emplace_back(std::move(text)); }
    std::string_view body(std::string_view text) {
        std::string escaped;
        core::append_json_body(escaped, text);
        return made(std::move(escaped));
    }

    // The agent's own tools have results in the answer; those of the client do not.
    void tell_call(json::object const& call) {
        static json::object const none;
        auto const* const function = member(call, "function");
        auto const& of = function != nullptr && function->is_object() ? function->get_object() : none;
        auto const id = text_of(call, "id");
        auto const result = results_.find(id);
        if (result == results_.end()) {
            out_.events.emplace_back(chat::ToolCallDelta{client_calls_++, body(id), body(text_of(of, "name")),
                                                         body(text_of(of, "arguments"))});
            return;
        }
        auto const name = made(std::string(text_of(of, "name")));
        auto const call_id = made(std::string(id));
        out_.events.emplace_back(chat::ToolStarted{call_id, name, made(std::string(text_of(of, "arguments")))});
        out_.events.emplace_back(chat::ToolEnded{call_id, name, made(std::string(result->second))});
    }

    GivenAnswer& out_;
    json::array const& messages_;
    std::map<std::string_view, std::string_view> results_;
    int client_calls_ = 0;
};

} // namespace

GivenAnswer given_answer(memory::StoredTurn const& answer) {
    GivenAnswer out;
    std::string model;
    core::append_json_body(model, answer.model);
    out.events.emplace_back(chat::ModelReport{out.made.emplace_back(std::move(model))});
    auto const messages = core::json_tree(answer.messages);
    if (messages && messages->is_array()) Telling(out, messages->get_array()).tell();
    out.events.emplace_back(chat::ChoiceEnd{chat::finish_reason_named(answer.finish)});
    chat::Usage usage;
    usage.prompt_tokens = answer.prompt_tokens;
    usage.completion_tokens = answer.completion_tokens;
    out.events.emplace_back(chat::UsageReport{usage});
    return out;
}

} // namespace parley::agents

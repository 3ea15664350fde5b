// What every decoder promises, whatever it reads, checked for the fuzz targets of decoders: the same events however the
// bytes are cut, texts that are JSON string bodies, values that are JSON, calls numbered without gaps. Test side only.
#pragma once

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/json.hpp"
#include "providers/dialect.hpp"

namespace parley::tests {

inline void require(bool good) {
    if (!good) std::abort();
}

enum class CallIds { kAsSent, kMade }; // made ones are random: they are checked, but cannot be compared

/// Writes events down, one a line, and checks each.
class EventLog {
public:
    explicit EventLog(CallIds call_ids) : call_ids_(call_ids) {}

    std::string text;

    void write(std::vector<chat::RunEvent> const& events) {
        for (auto const& event : events)
            std::visit([this](auto const& e) { (*this)(e); }, event);
    }

private:
    void put(std::string_view kind, std::string_view what) { text.append(kind).append(" ").append(what).append("\n"); }

    static std::string_view body(std::string_view text) {
        std::string storage;
        require(text.empty() || core::repair_json_body(text, storage).data() == text.data());
        return text;
    }
    static std::string_view value(std::string_view json) {
        require(core::check_json(json, 80).has_value());
        return json;
    }

    template <class Event>
    void put_choice(Event const& e) {
        put("choice", std::to_string(e.choice));
    }

    void operator()(chat::TextDelta const& e) {
        require(!e.body.empty() || !e.logprobs.empty());
        put_choice(e);
        put("text", body(e.body));
        if (!e.logprobs.empty()) put("logprobs", value(e.logprobs));
    }
    void operator()(chat::ReasoningDelta const& e) {
        put_choice(e);
        put("reasoning", body(e.body));
    }
    void operator()(chat::RefusalDelta const& e) {
        put_choice(e);
        put("refusal", body(e.body));
    }
    void operator()(chat::ToolCallDelta const& e) {
        int& calls = calls_[e.choice];
        require(e.index >= 0 && e.index <= calls);
        bool const first = e.index == calls;
        require(first ? !e.id.empty() && !e.name.empty() : e.id.empty() && e.name.empty());
        if (first) ++calls;
        put_choice(e);
        put("call", std::to_string(e.index));
        auto const id = body(e.id);
        if (call_ids_ == CallIds::kAsSent) put("id", id);
        put("name", body(e.name));
        put("arguments", body(e.arguments));
    }
    void operator()(chat::DeltaField const& e) {
        put_choice(e);
        put(body(e.name), value(e.json));
    }
    void operator()(chat::ChoiceEnd const& e) {
        require(!std::exchange(ended_[e.choice], true));
        put_choice(e);
        put("end", chat::finish_reason_name(e.reason));
    }
    void operator()(chat::UsageReport const& e) {
        require(e.usage.prompt_tokens >= 0 && e.usage.completion_tokens >= 0);
        put("usage", std::to_string(e.usage.prompt_tokens) + " " + std::to_string(e.usage.completion_tokens) + " " +
                         std::to_string(e.usage.total_tokens()));
    }
    void operator()(chat::ModelReport const& e) {
        put("model", body(e.model));
        put("fingerprint", body(e.system_fingerprint));
        put("tier", body(e.service_tier));
    }
    template <class Event>
    void operator()(Event const&) {
        require(false); // an event of the run, which no decoder makes
    }

    CallIds call_ids_;
    std::map<int, int> calls_; // by choice
    std::map<int, bool> ended_;
};

/// What `decoder` says of `stream` fed in pieces of `step` bytes, each in memory of its own.
inline std::string decode_in_pieces(std::unique_ptr<providers::Decoder> decoder, std::string_view stream,
                                    std::size_t step, CallIds call_ids = CallIds::kMade) {
    EventLog log(call_ids);
    std::vector<chat::RunEvent> events;
    auto failed = [&log](core::Error const& error) {
        return log.text + "error " + std::string(core::code_name(error.code)) + " " + error.message;
    };
    for (std::size_t at = 0; at < stream.size(); at += step) {
        std::string_view const part = stream.substr(at, step);
        std::unique_ptr<char[]> const memory(new char[part.size()]);
        part.copy(memory.get(), part.size());
        events.clear();
        auto const fed = decoder->feed({memory.get(), part.size()}, events);
        log.write(events);
        if (!fed) return failed(fed.error());
        if (decoder->done()) return log.text;
    }
    events.clear();
    auto const finished = decoder->finish(events);
    log.write(events);
    require(!finished || decoder->done());
    return finished ? log.text : failed(finished.error());
}

} // namespace parley::tests

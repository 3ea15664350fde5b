// Fuzzes the decoder of chat completions. Whatever the bytes and however they are cut: the same events, every text a
// valid JSON string body, every value valid JSON, tool calls numbered without gaps, and the shortcut for chunks that
// repeat (repeat_template.hpp) gives what parsing gives. The first byte chooses the mode and the cut.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/json.hpp"
#include "providers/chat_completions.hpp"

namespace {

using namespace parley;

void require(bool good) {
    if (!good) std::abort();
}

std::string_view body(std::string_view text) {
    std::string storage;
    require(core::repair_json_body(text, storage).data() == text.data() || text.empty());
    return text;
}

/// Writes events down, and checks what every event promises.
class Writer {
public:
    std::string text;

    void write(std::vector<chat::RunEvent> const& events) {
        for (auto const& event : events)
            std::visit([this](auto const& e) { (*this)(e); }, event);
    }

private:
    void put(char kind, int choice, std::string_view what) {
        text += kind + std::to_string(choice) + ":" + std::string(what) + "\n";
    }
    void operator()(chat::TextDelta const& e) {
        require(!e.body.empty() || !e.logprobs.empty());
        put('t', e.choice, body(e.body));
        if (e.logprobs.empty()) return;
        require(core::check_json(e.logprobs, 64).has_value());
        put('l', e.choice, e.logprobs);
    }
    void operator()(chat::ReasoningDelta const& e) { put('r', e.choice, body(e.body)); }
    void operator()(chat::RefusalDelta const& e) { put('x', e.choice, body(e.body)); }
    void operator()(chat::ToolCallDelta const& e) {
        int& calls = calls_[e.choice];
        bool const first = e.index == calls;
        require(e.index >= 0 && e.index <= calls);
        require(first ? !e.id.empty() && !e.name.empty() : e.id.empty() && e.name.empty());
        if (first) ++calls;
        put('c', e.choice, std::to_string(e.index));
        put('i', e.choice, body(e.id));
        put('n', e.choice, body(e.name));
        put('a', e.choice, body(e.arguments));
    }
    void operator()(chat::DeltaField const& e) {
        require(core::check_json(e.json, 64).has_value());
        put('f', e.choice, body(e.name));
        put('v', e.choice, e.json);
    }
    void operator()(chat::ChoiceEnd const& e) {
        require(!ended_[e.choice]);
        ended_[e.choice] = true;
        put('e', e.choice, std::to_string(static_cast<int>(e.reason)));
    }
    void operator()(chat::UsageReport const& e) { put('u', 0, std::to_string(e.usage.total_tokens())); }
    template <class Event>
    void operator()(Event const&) {
        require(false); // an event of the run, which no decoder makes
    }
    void operator()(chat::ModelReport const& e) {
        put('m', 0, body(e.model));
        put('s', 0, body(e.system_fingerprint));
        put('q', 0, body(e.service_tier));
    }

    std::map<int, int> calls_;
    std::map<int, bool> ended_;
};

std::string decode(std::string_view stream, std::size_t step) {
    auto const decoder = providers::make_chat_decoder();
    Writer writer;
    std::vector<chat::RunEvent> events;
    auto failed = [&](core::Error const& error) {
        return writer.text + "error " + std::to_string(static_cast<int>(error.code)) + error.message;
    };
    for (std::size_t at = 0; at < stream.size(); at += step) {
        std::string_view const part = stream.substr(at, step);
        std::unique_ptr<char[]> const memory(new char[part.size()]);
        part.copy(memory.get(), part.size());
        events.clear();
        auto const fed = decoder->feed({memory.get(), part.size()}, events);
        writer.write(events);
        if (!fed) return failed(fed.error());
        if (decoder->done()) return writer.text;
    }
    events.clear();
    auto const finished = decoder->finish(events);
    writer.write(events);
    return finished ? writer.text : failed(finished.error());
}

/// Each line as one event. `uneven` makes neighbours differ in white space, so that none repeats the one before.
std::string as_stream(std::string_view lines, bool uneven) {
    std::string stream = ":\n";
    bool odd = false;
    while (!lines.empty()) {
        std::size_t const end = lines.find('\n');
        std::string line(lines.substr(0, end));
        lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 1);
        if (uneven && odd && line.starts_with('{')) line.insert(1, " ");
        odd = !odd;
        stream += "data: " + line + "\n\n";
    }
    return stream;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    if (size == 0) return 0;
    std::string_view const text(reinterpret_cast<char const*>(data) + 1, size - 1);
    std::size_t const step = data[0] % 64U + 1;
    if (data[0] < 128) {
        require(decode(text, size) == decode(text, step));
        return 0;
    }
    std::string const stream = as_stream(text, false);
    std::string const whole = decode(stream, stream.size());
    require(whole == decode(stream, step));
    require(whole == decode(as_stream(text, true), stream.size() * 2));
    return 0;
}

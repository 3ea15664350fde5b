// Fuzzes the SSE reader: however the bytes are cut, it must give what a plain reading of the specification gives.
// The first byte of the input chooses how to cut. libFuzzer entry; single-threaded.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/sse.hpp"

namespace {

using Events = std::vector<std::pair<std::string, std::string>>;

Events read(std::string_view text, std::size_t step) {
    parley::net::SseReader reader;
    parley::net::SseEvent event;
    Events events;
    for (std::size_t at = 0; at < text.size(); at += step) {
        auto const piece = std::make_unique<std::string>(text.substr(at, step));
        reader.feed(*piece);
        while (true) {
            auto const more = reader.next(event);
            if (!more) std::abort(); // the input is far below the limits
            if (!*more) break;
            events.emplace_back(event.event, event.data);
        }
    }
    return events;
}

/// WHATWG HTML §9.2.6, word by word and slow.
Events read_plainly(std::string_view text) {
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    Events events;
    std::string name;
    std::string data;
    bool has_data = false;
    while (!text.empty()) {
        std::size_t const end = text.find_first_of("\r\n");
        if (end == std::string_view::npos) break;
        std::string_view const line = text.substr(0, end);
        text.remove_prefix(end + (text.substr(end, 2) == "\r\n" ? 2 : 1));
        if (line.empty()) {
            if (has_data) {
                data.pop_back();
                events.emplace_back(name, data);
            }
            name.clear();
            data.clear();
            has_data = false;
            continue;
        }
        std::size_t const colon = line.find(':');
        std::string_view const field = line.substr(0, colon);
        std::string_view value = colon == std::string_view::npos ? std::string_view{} : line.substr(colon + 1);
        if (value.starts_with(' ')) value.remove_prefix(1);
        if (field == "event") name = value;
        if (field == "data") {
            data.append(value).push_back('\n');
            has_data = true;
        }
    }
    return events;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    if (size == 0) return 0;
    std::string_view const text(reinterpret_cast<char const*>(data) + 1, size - 1);
    Events const expected = read_plainly(text);
    if (read(text, size) != expected) std::abort();
    if (read(text, data[0] % 32U + 1) != expected) std::abort();
    return 0;
}

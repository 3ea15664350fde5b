// Fuzzes the SSE reader: however the bytes are cut, it must give what a plain reading of the specification gives.
// The first byte of the input chooses how to cut. libFuzzer entry; single-threaded.
#include <algorithm>
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

struct Told {
    std::vector<std::pair<std::string, std::string>> events;
    bool is_damaged = false; // then nothing follows
    bool operator==(Told const&) const = default;
};

Told read(std::string_view text, std::size_t step) {
    parley::net::SseReader reader;
    parley::net::SseEvent event;
    Told told;
    for (std::size_t at = 0; at < text.size(); at += step) {
        auto const piece = std::make_unique<std::string>(text.substr(at, step));
        reader.feed(*piece);
        while (true) {
            auto const more = reader.next(event);
            told.is_damaged = !more; // the input is far below the limits
            if (!more) return told;
            if (!*more) break;
            told.events.emplace_back(event.event, event.data);
        }
    }
    return told;
}

/// No name of a field, not even of one that is unknown, and so no comment either.
bool is_damage(std::string_view name) {
    return std::ranges::any_of(name, [](unsigned char c) { return c < 0x20 || c >= 0x7f; });
}

/// WHATWG HTML §9.2.6, word by word and slow, but that it gives up where a field has no name that anybody would use.
Told read_plainly(std::string_view text) {
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    Told told;
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
                told.events.emplace_back(name, data);
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
        if (is_damage(field)) {
            told.is_damaged = true;
            break;
        }
        if (field == "event") name = value;
        if (field == "data") {
            data.append(value).push_back('\n');
            has_data = true;
        }
    }
    return told;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    if (size == 0) return 0;
    std::string_view const text(reinterpret_cast<char const*>(data) + 1, size - 1);
    Told const expected = read_plainly(text);
    if (read(text, size) != expected) std::abort();
    if (read(text, data[0] % 32U + 1) != expected) std::abort();
    return 0;
}

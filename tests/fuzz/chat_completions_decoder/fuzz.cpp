// Fuzzes the decoder of chat completions. Whatever the bytes and however they are cut: the same events, every text a
// valid JSON string body, every value valid JSON, tool calls numbered without gaps, and the shortcut for chunks that
// repeat (repeat_template.hpp) gives what parsing gives. The first byte chooses the mode and the cut.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "providers/chat_completions.hpp"
#include "tests/fuzz/decoder_checks.hpp"

namespace {

using namespace parley;
using tests::require;

std::string decode(std::string_view stream, std::size_t step) {
    return tests::decode_in_pieces(providers::make_chat_decoder(), stream, step, tests::CallIds::kAsSent);
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

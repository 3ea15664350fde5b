// Fuzzes the decoder of the Responses API. The first byte chooses the cut, and whether the rest is a stream as it is
// or the data of one event a line, so that the fuzzer need not find the frame of events by itself.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "providers/responses_decoder.hpp"
#include "tests/fuzz/decoder_checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    using namespace parley;
    if (size == 0) return 0;
    std::string_view rest(reinterpret_cast<char const*>(data) + 1, size - 1);
    std::string stream;
    if (data[0] < 128) {
        stream = rest;
    } else {
        while (!rest.empty()) {
            std::size_t const end = rest.find('\n');
            stream.append("data: ").append(rest.substr(0, end)).append("\n\n");
            rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
        }
    }
    std::string const whole = tests::decode_in_pieces(providers::make_responses_decoder(), stream, stream.size() + 1);
    std::string const cut = tests::decode_in_pieces(providers::make_responses_decoder(), stream, data[0] % 64U + 1);
    tests::require(whole == cut);
    return 0;
}

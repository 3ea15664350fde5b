// Fuzzes the decoder of Ollama's answers, lines and whole. The first byte chooses the mode and the cut.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "providers/ollama_decoder.hpp"
#include "tests/fuzz/decoder_checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    using namespace parley;
    if (size == 0) return 0;
    std::string_view const body(reinterpret_cast<char const*>(data) + 1, size - 1);
    bool const streaming = data[0] < 192;
    std::string const whole = tests::decode_in_pieces(providers::make_ollama_decoder(streaming), body, size);
    std::string const cut = tests::decode_in_pieces(providers::make_ollama_decoder(streaming), body, data[0] % 64U + 1);
    tests::require(whole == cut);
    return 0;
}

// Fuzz target: ${VAR} expansion and the .env reader, on any bytes.
// Input: a text; variables whose name begins with S are set, to a value that looks like a reference.
// Checks: no crash, bounds kept, nothing expanded twice, a complete result without references is the text itself.
#include <cstdint>
#include <cstdlib>

#include "core/dotenv.hpp"
#include "core/expand.hpp"
#include "core/nearest.hpp"

namespace {

constexpr std::string_view kValue = "${NEVER}";

void require(bool condition) {
    if (!condition) std::abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    using namespace parley::core;
    std::string_view const text(reinterpret_cast<char const*>(data), size);
    auto const lookup = [](std::string_view name) -> std::optional<std::string> {
        return name.substr(0, 1) == "S" ? std::optional<std::string>(kValue) : std::nullopt;
    };
    constexpr std::size_t kMax = 4'096;
    auto const result = expand(text, lookup, kMax);
    if (result.complete()) require(result.text.size() <= kMax);
    require(result.unset.size() <= 64);
    if (!result.problem.empty()) require(result.problem_at_bytes <= size);
    bool const dollar = text.find("${") != std::string_view::npos;
    if (!dollar && size <= kMax) require(result.complete() && result.text == text && !result.has_reference);
    if (result.complete() && !result.has_reference) require(result.text.size() <= size);

    auto const file = parse_dotenv(text);
    for (auto const& entry : file.entries) {
        require(!entry.name.empty() && entry.line >= 1);
        require(entry.value.find('\0') == std::string::npos);
        require(file.find(entry.name) != nullptr);
    }
    for (auto const& fault : file.faults)
        require(fault.line >= 1 && !fault.problem.empty());

    constexpr std::string_view kWords[]{"provider", "model", "system_prompt", "a"};
    if (auto const word = nearest(text, kWords)) require(!word->empty());
    return 0;
}

// What of the configuration goes into the head of a request: keys and headers; see config_parts.hpp.
// Owned by one load of the configuration.
// Faults never quote the value, which may be a secret.
#include <algorithm>

#include "agents/config_json.hpp"
#include "agents/config_parts.hpp"
#include "core/ascii.hpp"
#include "core/header_text.hpp"

namespace parley::agents {
namespace {

constexpr std::string_view kNotOneLine = "a value with a line end or control character in it";

} // namespace

bool is_same_header(std::string_view one, std::string_view other) {
    return core::is_same_but_case(one, other);
}

std::optional<std::string> read_one_line(ObjectReader const& reader, std::string_view key) {
    auto const text = reader.text(key);
    if (!text) return std::nullopt;
    auto const value = core::trimmed_header_value(*text);
    if (core::is_header_value(value)) return std::string(value);
    reader.fault(key, std::string(kNotOneLine), "one line of text");
    return std::nullopt;
}

std::optional<Headers> read_headers(ObjectReader const& reader, std::string_view key) {
    auto written = reader.secrets_by_name(key);
    if (!written) return std::nullopt;
    Headers out;
    for (auto const& [name, secret] : *written) {
        auto const pointer = join_pointer(join_pointer(reader.pointer(), key), name);
        auto const value = core::trimmed_header_value(secret.reveal());
        if (!core::is_header_name(name)) {
            reader.fault_at(pointer, "a header name with a character that HTTP does not allow",
                            "letters, digits and -");
        } else if (has_header(out, name)) {
            reader.fault_at(pointer, "a header that is there already in other letters",
                            "every header once, whether in small or capital letters");
        } else if (!core::is_header_value(value)) {
            reader.fault_at(pointer, std::string(kNotOneLine), "one line of text");
        }
        out.emplace_back(name, core::Secret(std::string(value)));
    }
    return out;
}

bool has_header(Headers const& headers, std::string_view name) {
    return std::any_of(headers.begin(), headers.end(),
                       [name](auto const& header) { return is_same_header(header.first, name); });
}

} // namespace parley::agents

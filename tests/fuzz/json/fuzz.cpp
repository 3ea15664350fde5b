// Fuzzes the JSON text core: what the check accepts must be what Boost.JSON accepts, and whatever comes in, what goes
// out is a valid JSON string. libFuzzer entry; single-threaded.
#include <boost/json.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "core/json.hpp"
#include "core/json_object.hpp"
#include "core/json_padded.hpp"

namespace {

using namespace parley;

constexpr std::size_t kDepth = 64;

void require(bool condition) {
    if (!condition) std::abort();
}

// Nothing = it has no opinion: it gives up on some exponents by their length alone (0e4567890123).
std::optional<bool> boost_accepts(std::string_view text) {
    boost::json::parse_options options;
    options.max_depth = kDepth;
    boost::json::error_code error;
    boost::json::parse(text, error, {}, options);
    if (error == boost::json::error::exponent_overflow) return {};
    return !error;
}

// Boost.JSON takes a number that is too large for Infinity, and the last of equal keys; we refuse both on purpose.
bool refused_on_purpose(core::Error const& error) {
    return error.message.find("too large number") != std::string::npos ||
           error.message.find("more than once") != std::string::npos;
}

void check_text(std::string_view text) {
    auto const result = core::check_json(text, kDepth);
    auto const other = boost_accepts(text);
    if (other) {
        require(!result || *other);
        require(result || !*other || refused_on_purpose(result.error()));
    }
    if (!result) require(core::is_valid_utf8(result.error().message) && core::is_valid_utf8(result.error().param));

    std::string padded(text); // what lies behind the text must not matter
    padded.append(core::kJsonPadding, ",]}\"0 "[text.size() % 6]);
    require(core::check_json_padded({padded.data(), text.size()}, padded.size(), kDepth).has_value() ==
            result.has_value());
    padded.resize(text.size());
    core::CheckedObject object;
    auto const checked = object.check(padded, padded.capacity(), kDepth);
    require(!checked || result);
    if (!checked || !other) return;
    std::string rebuilt = "{";
    for (auto const& member : object.members()) {
        auto const& [key, json] = member;
        require(core::check_json("[" + std::string(json) + "]", kDepth + 1).has_value());
        auto value = object.enter(member);
        require(value && value->raw_json_token().data() == json.data());
        if (rebuilt.size() > 1) rebuilt += ',';
        rebuilt.append("\"").append(key).append("\":").append(json);
    }
    // As text, because Boost.JSON reads 0e9800 as NaN, which equals nothing.
    auto const reread = boost::json::parse(rebuilt + "}");
    require(boost::json::serialize(reread) == boost::json::serialize(boost::json::parse(text)));
}

void check_strings(std::string_view text) {
    std::string escaped;
    core::append_json_string(escaped, text);
    require(core::check_json(escaped, 0).has_value());
    require(core::json_body_to_text(core::strip_quotes(escaped)) == core::repair_utf8(text));

    std::string storage;
    std::string const repaired(core::repair_json_body(text, storage));
    require(core::check_json("\"" + repaired + "\"", 0).has_value());
    require(core::repair_json_body(repaired, storage).data() == repaired.data());
    auto const unescaped = boost::json::parse("\"" + repaired + "\"");
    require(core::json_body_to_text(repaired) == std::string_view(unescaped.as_string()));

    auto const utf8 = core::repair_utf8(text);
    require(core::is_valid_utf8(utf8));
    require(core::is_valid_utf8(text) == (utf8 == text));
    core::json_body_to_text(text);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    std::string_view const text(reinterpret_cast<char const*>(data), size);
    check_text(text);
    check_strings(text);
    return 0;
}

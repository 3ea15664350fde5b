// Member by member reading of configuration objects, see config_reader.hpp.
// Owned by one load of the configuration.
// Faults quote only what is written in the file and is no secret: wrong types are told by their type alone.
#include "agents/config_reader.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "agents/config_json.hpp"
#include "core/nearest.hpp"

namespace parley::agents {
namespace {

namespace json = boost::json;

constexpr std::size_t kQuotedBytesMax = 60;

json::string_view to_json_view(std::string_view text) noexcept {
    return {text.data(), text.size()};
}

std::string_view to_std_view(json::string_view text) noexcept {
    return {text.data(), text.size()};
}

std::optional<std::int64_t> as_integer(json::value const& value) noexcept {
    if (auto const* i = value.if_int64()) return *i;
    // 10.0 and 1e3 are whole numbers to JSON; above 2^53 a double no longer tells which one.
    constexpr double kExactMax = 9007199254740992.0;
    if (auto const* d = value.if_double(); d != nullptr && std::trunc(*d) == *d && std::abs(*d) <= kExactMax) {
        return static_cast<std::int64_t>(*d);
    }
    return std::nullopt;
}

std::string number_or_type(json::value const& value) {
    return value.is_number() ? number_text(value) : std::string(describe_type(value));
}

std::string range_text(std::int64_t min, std::int64_t max) {
    return "a whole number from " + std::to_string(min) + " to " + std::to_string(max);
}

} // namespace

std::string_view describe_type(json::value const& value) noexcept {
    switch (value.kind()) {
        case json::kind::null:
            return "null";
        case json::kind::bool_:
            return "true or false";
        case json::kind::int64:
        case json::kind::uint64:
        case json::kind::double_:
            return "a number";
        case json::kind::string:
            return "a string";
        case json::kind::array:
            return "an array";
        case json::kind::object:
            return "an object";
    }
    return "nothing";
}

std::string number_text(json::value const& number) {
    auto const* const real = number.if_double();
    return real != nullptr ? fmt::format("{}", *real) : json::serialize(number);
}

std::string in_quotes(std::string_view text) {
    bool const cut = text.size() > kQuotedBytesMax;
    if (cut) {
        auto end = kQuotedBytesMax;
        while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U)
            --end; // not inside a character
        text = text.substr(0, end);
    }
    return json::serialize(to_json_view(text)) + (cut ? "..." : "");
}

std::string joined(std::span<std::string_view const> words, std::size_t count_max) {
    std::string out;
    for (std::size_t i = 0; i < words.size() && i < count_max; ++i) {
        if (i > 0) out += ", ";
        out += words[i];
    }
    if (words.size() > count_max) out += " and " + std::to_string(words.size() - count_max) + " more";
    return out;
}

std::string did_you_mean(std::string_view word, std::span<std::string_view const> candidates) {
    auto const meant = core::nearest(word, candidates);
    return meant ? "did you mean " + in_quotes(*meant) + "?" : std::string();
}

std::string not_set(std::vector<std::string> const& names) {
    if (names.empty()) return {};
    std::string out;
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (i > 0) out += i + 1 == names.size() ? " and " : ", ";
        out += names[i];
    }
    return out + (names.size() == 1 ? " is not set" : " are not set");
}

void ObjectReader::allow_only(std::span<std::string_view const> keys) const {
    for (auto const& member : object_) {
        auto const key = to_std_view(member.key());
        if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
        fault(key, "unknown key " + in_quotes(key), joined(keys), did_you_mean(key, keys));
    }
}

json::value const* ObjectReader::find(std::string_view key) const noexcept {
    auto const* value = object_.if_contains(to_json_view(key));
    return value != nullptr && value->is_null() ? nullptr : value;
}

std::string_view ObjectReader::written(std::string_view key) const noexcept {
    auto const* value = find(key);
    auto const* text = value != nullptr ? value->if_string() : nullptr;
    return text != nullptr ? std::string_view(text->data(), text->size()) : std::string_view{};
}

std::optional<std::string> ObjectReader::expanded(std::string_view written, std::string const& pointer) const {
    auto expansion = core::expand(written, scope_.lookup);
    if (!expansion.problem.empty()) {
        fault_at(pointer, expansion.problem, "variables as ${NAME}, ${NAME:-default} or ${env:NAME}",
                 "at byte " + std::to_string(expansion.problem_at_bytes + 1) + " of the string");
        return std::nullopt;
    }
    for (auto const& name : expansion.unset) {
        if (std::find(unset_->begin(), unset_->end(), name) == unset_->end()) unset_->push_back(name);
    }
    if (!expansion.complete()) return std::nullopt;
    return std::move(expansion.text);
}

std::optional<std::string> ObjectReader::text(std::string_view key, std::string_view allowed) const {
    auto const* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_string()) {
        fault(key, std::string(describe_type(*value)), std::string(allowed));
        return std::nullopt;
    }
    return expanded(written(key), join_pointer(pointer_, key));
}

std::optional<std::string> ObjectReader::text_not_empty(std::string_view key) const {
    auto value = text(key);
    if (!value || !value->empty()) return value;
    fault(key, "an empty string", "a string that is not empty");
    return std::nullopt;
}

std::optional<bool> ObjectReader::boolean(std::string_view key) const {
    auto const* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (auto const* b = value->if_bool()) return *b;
    fault(key, std::string(describe_type(*value)), "true or false");
    return std::nullopt;
}

std::optional<std::int64_t> ObjectReader::integer(std::string_view key, std::int64_t min, std::int64_t max) const {
    auto const* value = find(key);
    if (value == nullptr) return std::nullopt;
    auto const number = as_integer(*value);
    if (number && *number >= min && *number <= max) return number;
    fault(key, number_or_type(*value), range_text(min, max));
    return std::nullopt;
}

std::optional<double> ObjectReader::number(std::string_view key, double max, bool zero_allowed) const {
    auto const* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (value->is_number()) {
        auto const number = value->to_number<double>();
        if ((number > 0 || (zero_allowed && number == 0)) && number <= max) return number;
    }
    auto const most = std::to_string(static_cast<std::int64_t>(max));
    fault(key, number_or_type(*value), (zero_allowed ? "a number from 0 to " : "a number above 0, at most ") + most);
    return std::nullopt;
}

std::optional<double> ObjectReader::number_above_zero(std::string_view key, double max) const {
    return number(key, max, false);
}

std::optional<double> ObjectReader::number_from_zero(std::string_view key, double max) const {
    return number(key, max, true);
}

std::optional<double> ObjectReader::number_within(std::string_view key, double min, double max) const {
    auto const* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (value->is_number()) {
        auto const number = value->to_number<double>();
        if (number >= min && number <= max) return number;
    }
    fault(key, number_or_type(*value), fmt::format("a number from {} to {}", min, max));
    return std::nullopt;
}

std::optional<std::vector<std::string>> ObjectReader::texts(std::string_view key, bool empty_allowed) const {
    auto const* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_array()) {
        fault(key, std::string(describe_type(*value)), "an array of strings");
        return std::nullopt;
    }
    std::vector<std::string> out;
    std::size_t index = 0;
    for (auto const& element : value->get_array()) {
        auto const pointer = join_pointer(join_pointer(pointer_, key), index++);
        auto const* written = element.if_string();
        if (written == nullptr) {
            fault_at(pointer, std::string(describe_type(element)), "a string");
        } else if (written->empty() && !empty_allowed) {
            fault_at(pointer, "an empty string", "a string that is not empty");
        } else if (auto text = expanded({written->data(), written->size()}, pointer)) {
            out.push_back(std::move(*text));
        }
    }
    return out;
}

std::optional<std::vector<std::pair<std::string, core::Secret>>> ObjectReader::secrets_by_name(
    std::string_view key) const {
    auto const* members = object(key);
    if (members == nullptr) return std::nullopt;
    std::vector<std::pair<std::string, core::Secret>> out;
    for (auto const& member : *members) {
        auto const name = to_std_view(member.key());
        auto const pointer = join_pointer(join_pointer(pointer_, key), name);
        auto const* written = member.value().if_string();
        if (written == nullptr) {
            fault_at(pointer, std::string(describe_type(member.value())), "a string");
        } else if (auto text = expanded({written->data(), written->size()}, pointer)) {
            out.emplace_back(std::string(name), core::Secret(std::move(*text)));
        }
    }
    return out;
}

json::value ObjectReader::expanded_tree(json::value const& value, std::string const& pointer) const {
    if (auto const* text = value.if_string()) {
        return json::string(expanded({text->data(), text->size()}, pointer).value_or(std::string()));
    }
    if (auto const* array = value.if_array()) {
        json::array out;
        for (auto const& element : *array)
            out.push_back(expanded_tree(element, join_pointer(pointer, out.size())));
        return out;
    }
    if (auto const* object = value.if_object()) {
        json::object out;
        for (auto const& member : *object) {
            out[member.key()] = expanded_tree(member.value(), join_pointer(pointer, to_std_view(member.key())));
        }
        return out;
    }
    return value;
}

std::optional<json::object> ObjectReader::free_object(std::string_view key) const {
    auto const* members = object(key);
    if (members == nullptr) return std::nullopt;
    return std::move(expanded_tree(*members, join_pointer(pointer_, key)).as_object());
}

json::object const* ObjectReader::object(std::string_view key) const {
    auto const* value = find(key);
    if (value == nullptr) return nullptr;
    if (auto const* members = value->if_object()) return members;
    fault(key, std::string(describe_type(*value)), "an object");
    return nullptr;
}

void ObjectReader::fault(std::string_view key, std::string found, std::string allowed, std::string hint) const {
    fault_at(join_pointer(pointer_, key), std::move(found), std::move(allowed), std::move(hint));
}

void ObjectReader::fault_here(std::string found, std::string allowed, std::string hint) const {
    fault_at(pointer_, std::move(found), std::move(allowed), std::move(hint));
}

void ObjectReader::fault_at(std::string pointer, std::string found, std::string allowed, std::string hint) const {
    scope_.faults.push_back({scope_.file, std::move(pointer), std::move(found), std::move(allowed), std::move(hint)});
}

} // namespace parley::agents

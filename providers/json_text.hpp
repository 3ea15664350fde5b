// JSON text without trees: one level read as slices of that same text, and objects written member by member.
// Owned by one encoder or decoder, single-threaded. Nothing here copies what it slices.
#pragma once

#include <boost/container/small_vector.hpp>
#include <simdjson.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/json.hpp"
#include "core/result.hpp"

namespace parley::providers {

struct JsonMember {
    std::string_view name; // as written between the quotes: a name written with escapes equals no known name
    std::string_view json; // the value, without whitespace around it
};

using JsonMembers = boost::container::small_vector<JsonMember, 12>;
using JsonElements = boost::container::small_vector<std::string_view, 8>;

/// The value of the first member of that name; empty = there is none, or it is null.
std::string_view find_member(JsonMembers const& members, std::string_view name) noexcept;

/// Cuts one level of an object or array into slices. Structure and UTF-8 are checked, the insides of slices are not:
/// what comes from a provider and is sent on as it is needs core::check_json.
class JsonSlicer {
public:
    JsonSlicer() = default;
    JsonSlicer(JsonSlicer const&) = delete;
    JsonSlicer& operator=(JsonSlicer const&) = delete;

    /// Slices of `object`, in order. Errors: kInvalidJson (not one JSON object, or invalid UTF-8).
    core::Result<JsonMembers> members(std::string_view object);

    /// Slices of `array`, in order. Errors: kInvalidJson.
    core::Result<JsonElements> elements(std::string_view array);

private:
    core::Result<simdjson::ondemand::document> open(std::string_view text);
    std::string_view original(std::string_view slice) const noexcept;

    simdjson::ondemand::parser parser_;
    std::string padded_;       // simdjson wants room after the text
    std::string_view current_; // what `padded_` is a copy of
};

inline bool is_string(std::string_view json) noexcept {
    return json.size() >= 2 && json.front() == '"';
}
inline bool is_object(std::string_view json) noexcept {
    return json.size() >= 2 && json.front() == '{';
}
inline bool is_array(std::string_view json) noexcept {
    return json.size() >= 2 && json.front() == '[';
}

/// The string body in `json`, empty when it is not a string.
inline std::string_view string_body(std::string_view json) noexcept {
    return is_string(json) ? core::strip_quotes(json) : std::string_view{};
}

/// True for `{}`, `[]`, `""`, `null` and nothing at all.
bool is_empty_json(std::string_view json) noexcept;

/// An integer, or nullopt for anything else. `3.0` counts.
std::optional<std::int64_t> read_integer(std::string_view json) noexcept;

/// Writes one object. Values must be valid JSON; names must need no escapes.
class ObjectText {
public:
    explicit ObjectText(std::string& out) : out_(out) { out_ += '{'; }
    /// An object whose brace and first members are in `out` already.
    static ObjectText continued(std::string& out) { return ObjectText(out, false); }
    ObjectText(ObjectText const&) = delete;
    ObjectText& operator=(ObjectText const&) = delete;

    /// `,"name":`, for a value that the caller writes next.
    std::string& name(std::string_view name) {
        if (!first_) out_ += ',';
        first_ = false;
        out_ += '"';
        out_ += name;
        out_ += "\":";
        return out_;
    }
    void raw(std::string_view member, std::string_view json) { name(member) += json; }
    void body(std::string_view member, std::string_view string_body) {
        name(member) += '"';
        out_ += string_body;
        out_ += '"';
    }
    void text(std::string_view member, std::string_view utf8) { core::append_json_string(name(member), utf8); }
    void close() { out_ += '}'; }

private:
    ObjectText(std::string& out, bool first) : out_(out), first_(first) {}

    std::string& out_;
    bool first_ = true;
};

} // namespace parley::providers

// A JSON object that is checked whole and then walked over the same index: the fast reader's first pass reads every
// byte, so a large text should meet it once. Includes simdjson: for sources only, never for a header of another room.
// Owned by one call, on the stack of its loop.
#pragma once

#include <simdjson.h>

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "core/json_padded.hpp"
#include "core/result.hpp"

namespace parley::core {

/// A reader of this thread, whose memory is used again by the next one: allocating it costs more than reading a small
/// text does. Readers above kKeptCapacityMax are not kept.
class JsonParser {
public:
    static constexpr std::size_t kKeptCapacityMax = 256 * 1024; // of text; some 6 bytes of memory each

    JsonParser();
    ~JsonParser();
    JsonParser(JsonParser const&) = delete;
    JsonParser& operator=(JsonParser const&) = delete;

    simdjson::ondemand::parser& get() noexcept { return *parser_; }

private:
    std::unique_ptr<simdjson::ondemand::parser> parser_;
};

/// A member of an object, as slices of its text.
struct JsonMember {
    std::string_view key;  // the JSON string body, escapes kept
    std::string_view json; // the value, without whitespace around it
};

class CheckedObject {
public:
    CheckedObject() = default;
    CheckedObject(CheckedObject const&) = delete;
    CheckedObject& operator=(CheckedObject const&) = delete;

    /// check_json_padded for a text that must be one object; it must outlive this, and stay where it is.
    /// Errors: kInvalidJson; kInternal for a text that is not padded.
    Result<> check(std::string_view text, std::size_t capacity, std::size_t depth_max);

    /// In the order of the text; no two keys are equal.
    std::vector<JsonMember> const& members() const noexcept { return members_; }

    /// Begins a walk at the value of `member`, one of members(). One walk at a time: it ends an earlier one.
    /// Errors: kInternal, which cannot be.
    Result<simdjson::ondemand::value> enter(JsonMember const& member);

    /// Where the walk is.
    simdjson::ondemand::document& document() noexcept { return document_; }

private:
    JsonParser parser_;
    simdjson::ondemand::document document_;
    std::vector<JsonMember> members_;
};

} // namespace parley::core

// The check of a whole JSON text: one walk over simdjson's on-demand reader that visits everything, because on-demand
// does not validate what it skips. Pure functions, no state: callable from any loop.
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json.hpp"
#include "core/json_escape.hpp"
#include "core/json_object.hpp"
#include "core/json_padded.hpp"

namespace parley::core {
namespace {

namespace od = simdjson::ondemand;

static_assert(kJsonPadding >= simdjson::SIMDJSON_PADDING);
#ifdef __AVX2__
static_assert(SIMDJSON_CAN_ALWAYS_RUN_HASWELL, "simdjson falls back to scalar code: what does it want beside AVX2?");
#endif

// The walk recurses once a level; this keeps its stack below 200 KB whatever the caller asks for.
constexpr std::size_t kDepthMaxSupported = 512;

constexpr bool is_space(char c) noexcept {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

std::string_view trim_end(std::string_view text) noexcept {
    while (!text.empty() && is_space(text.back()))
        text.remove_suffix(1);
    return text;
}

// The reader looks at the byte behind the text, and would take a bracket or comma there for a part of it.
bool is_padded(std::string_view text, std::size_t capacity) noexcept {
    if (capacity < text.size() + kJsonPadding) return false;
    char const behind = text.data()[text.size()];
    return behind == '\0' || is_space(behind);
}

// Names a place as editors do: lines and columns (in bytes) from 1, beside the offset from 0.
Error fault_at(std::string_view text, std::size_t offset, std::string_view what) {
    offset = std::min(offset, text.size());
    auto const before = text.substr(0, offset);
    auto const line = 1 + std::count(before.begin(), before.end(), '\n');
    auto const column = offset - (before.rfind('\n') + 1) + 1;
    return make_error(Errc::kInvalidJson,
                      fmt::format("{} at byte {} (line {}, column {})", what, offset, line, column));
}

class Checker {
public:
    // Without the white space behind it: simdjson 3.0 misreads literals and numbers at the root that have too much of
    // it.
    Checker(std::string_view text, std::size_t depth_max)
        : text_(trim_end(text)), depth_max_(std::min(depth_max, kDepthMaxSupported)) {}

    // Leaves `document` at its end.
    Result<> run(std::size_t capacity, od::parser& parser, od::document& document) {
        if (text_.substr(0, 3) == "\xEF\xBB\xBF") return fault_at(text_, 0, "a byte order mark is not allowed");
        if (auto const error = parser.iterate(text_.data(), text_.size(), capacity).get(document)) {
            return stage_one_fault(error);
        }
        document_ = &document;
        if (!check_root(document)) {
            if (what_.empty()) structure_fault(document);
            return fault_at(text_, static_cast<std::size_t>(where_ - text_.data()), what_);
        }
        char const* rest = nullptr;
        if (!document.current_location().get(rest)) {
            return fault_at(text_, static_cast<std::size_t>(rest - text_.data()), "unexpected text behind the value");
        }
        return check_keys();
    }

    bool is_object() const noexcept { return is_object_; }
    std::vector<JsonMember> take_members() noexcept { return std::move(members_); }

private:
    bool check_root(od::document& document) {
        od::json_type type{};
        if (document.type().get(type)) return false;
        // Through the document, not through a value of it: only so does the reader see a text that is cut off, instead
        // of what lies behind it.
        if (type == od::json_type::object) {
            is_object_ = true;
            return depth_max_ == 0 ? fail_depth(text_.substr(text_.find('{'))) : check_object(document, 1);
        }
        if (type == od::json_type::array) {
            return depth_max_ == 0 ? fail_depth(text_.substr(text_.find('['))) : check_array(document, 1);
        }
        std::string_view token;
        if (document.raw_json_token().get(token)) return false;
        return check_scalar(document, type, trim_end(token));
    }

    bool check_value(od::value value, std::size_t depth) {
        od::json_type type{};
        if (value.type().get(type)) return fail_at_token(value.raw_json_token());
        switch (type) {
            case od::json_type::object:
                if (depth > depth_max_) return fail_depth(value.raw_json_token());
                return check_object(value, depth);
            case od::json_type::array:
                if (depth > depth_max_) return fail_depth(value.raw_json_token());
                return check_array(value, depth);
            default:
                return check_scalar(value, type, trim_end(value.raw_json_token()));
        }
    }

    template <class Value>
    bool check_object(Value& value, std::size_t depth) {
        od::object object;
        if (auto const error = value.get_object().get(object)) return fail_open(error);
        for (auto field : object) {
            od::raw_json_string key;
            if (field.key().get(key) || !check_key(key.raw(), depth)) return false;
            od::value member;
            if (field.value().get(member)) return false;
            auto const* const begin = member.raw_json_token().data();
            if (!check_value(member, depth + 1)) return false;
            if (depth > 1) continue;
            char const* next = nullptr; // the comma or brace behind the value
            if (document_->current_location().get(next)) return false;
            members_.back().json = trim_end({begin, next});
        }
        return true;
    }

    template <class Value>
    bool check_array(Value& value, std::size_t depth) {
        od::array array;
        if (auto const error = value.get_array().get(array)) return fail_open(error);
        for (auto element : array) {
            od::value member;
            if (element.get(member) || !check_value(member, depth + 1)) return false;
        }
        return true;
    }

    // Works on a value and on a document (a scalar at the root). Consumes it, so that what follows can be looked at.
    template <class Scalar>
    bool check_scalar(Scalar& scalar, od::json_type type, std::string_view token) {
        bool flag = false;
        od::raw_json_string string;
        switch (type) {
            case od::json_type::string:
                return check_escapes(token) && !scalar.get_raw_json_string().get(string);
            case od::json_type::number:
                if (!is_unreadable(scalar, token)) return true;
                return fail(token.data(), "invalid or too large number");
            case od::json_type::boolean: // by its text: simdjson 3.0 takes a lone `falsel`
                if (token != "true" && token != "false") return fail_at_token(token);
                return !scalar.get_bool().get(flag);
            case od::json_type::null:
                if (token != "null") return fail_at_token(token);
                return !scalar.is_null().get(flag);
            default:
                return fail_at_token(token);
        }
    }

    // The reader takes 1e-99999999999 for 0; others, through whose hands the text goes, for an overflow.
    template <class Scalar>
    static bool is_unreadable(Scalar& scalar, std::string_view token) {
        double number = 0;
        if (scalar.get_double().get(number)) return true; // also what is not finite
        return number == 0 && has_long_exponent(token);
    }

    // Apart, or what is called for each string is no longer inlined: 4 % of the instructions at 100 KB.
    [[gnu::cold, gnu::noinline]] static bool has_long_exponent(std::string_view token) {
        constexpr std::size_t digits_max = 8;
        auto const exponent = token.find_first_of("eE");
        return exponent != token.npos && token.size() - exponent > 2 + digits_max;
    }

    // `key` points behind the opening quote; the reader has seen that there is a closing one.
    bool check_key(char const* key, std::size_t depth) {
        auto const* at = key;
        for (; *at != '"'; ++at) {
            if (*at != '\\') continue;
            auto const escape = read_escape({at, static_cast<std::size_t>(text_.data() + text_.size() - at)});
            if (escape.code < 0) return fail_escape(at);
            at += escape.size - 1;
        }
        if (depth == 1) members_.push_back({{key, at}, {}});
        return true;
    }

    // Text has either hardly any escapes (memchr is fastest) or many close together (code, quoted JSON: a call of
    // memchr for each would cost more than the bytes between them).
    bool check_escapes(std::string_view token) {
        auto const* at = token.data();
        auto const* const end = at + token.size();
        auto const left = [&] { return static_cast<std::size_t>(end - at); };
        while ((at = static_cast<char const*>(std::memchr(at, '\\', left()))) != nullptr) {
            for (auto const* near = at; near != nullptr; near = next_near(at, end)) {
                at = near;
                if (is_short_escape(at[1])) { // the reader has seen the closing quote: at[1] is inside the token
                    at += 2;
                    continue;
                }
                auto const escape = read_escape({at, left()});
                if (escape.code < 0) return fail_escape(at);
                at += escape.size;
            }
        }
        return true;
    }

    static bool is_short_escape(char c) noexcept {
        switch (c) {
            case '"':
            case '\\':
            case '/':
            case 'b':
            case 'f':
            case 'n':
            case 'r':
            case 't':
                return true;
            default:
                return false;
        }
    }

    // The first backslash in the next few words, if any.
    static char const* next_near(char const* at, char const* end) noexcept {
        constexpr std::size_t words = 6;
        constexpr std::uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
        if constexpr (std::endian::native != std::endian::little) return nullptr;
        for (std::size_t i = 0; i < words && end - at >= 8; ++i, at += 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, at, sizeof word);
            word ^= ones * '\\';
            auto const hit = (word - ones) & ~word & high; // its lowest bit is exact
            if (hit != 0) return at + std::countr_zero(hit) / 8;
        }
        return nullptr;
    }

    // The same key twice means that two readers can see two different requests. Sorting, not hashing: keys are chosen
    // by the sender.
    Result<> check_keys() {
        std::list<std::string> unescaped;
        std::vector<std::string_view> keys;
        keys.reserve(members_.size());
        for (auto const& [key, json] : members_) {
            bool const escaped = key.find('\\') != key.npos;
            keys.push_back(escaped ? unescaped.emplace_back(json_body_to_text(key)) : key);
        }
        std::sort(keys.begin(), keys.end());
        auto const twice = std::adjacent_find(keys.begin(), keys.end());
        if (twice == keys.end()) return {};
        constexpr std::size_t shown_max = 64;
        auto const shown = repair_utf8(twice->substr(0, shown_max));
        auto error = make_error(Errc::kInvalidJson, fmt::format("the key '{}' occurs more than once", shown));
        error.param = shown;
        return error;
    }

    bool fail(char const* where, std::string what) {
        where_ = where;
        what_ = std::move(what);
        return false;
    }

    // The reader looks at the last character first.
    bool fail_open(simdjson::error_code error) {
        if (error != simdjson::INCOMPLETE_ARRAY_OR_OBJECT) return false;
        return fail(text_.data() + text_.size(), "the text does not end with the bracket that closes it");
    }

    bool fail_depth(std::string_view token) {
        return fail(token.data(), fmt::format("more than {} levels of nesting", depth_max_));
    }

    bool fail_escape(char const* at) { return fail(at, "invalid escape or unpaired surrogate in a string"); }

    bool fail_at_token(std::string_view token) {
        if (token.empty()) return fail(text_.data() + text_.size(), "unexpected end");
        char const c = token.front();
        if (c > ' ' && c < 0x7F) return fail(token.data(), fmt::format("unexpected character '{}'", c));
        return fail(token.data(), "unexpected character");
    }

    void structure_fault(od::document& document) {
        char const* at = nullptr;
        if (document.current_location().get(at)) at = text_.data() + text_.size();
        at = std::clamp(at, text_.data(), text_.data() + text_.size());
        fail_at_token(text_.substr(static_cast<std::size_t>(at - text_.data())));
    }

    // Faults that the vectorised first pass finds without saying where.
    Error stage_one_fault(simdjson::error_code error) const {
        switch (error) {
            case simdjson::EMPTY:
                return make_error(Errc::kInvalidJson, "the text is empty");
            case simdjson::UTF8_ERROR:
                return fault_at(text_, utf8_fault(), "invalid UTF-8");
            case simdjson::UNESCAPED_CHARS:
                return fault_at(text_, control_fault(), "unescaped control character in a string");
            case simdjson::UNCLOSED_STRING:
                return fault_at(text_, text_.size(), "unexpected end inside a string");
            case simdjson::MEMALLOC:
            case simdjson::CAPACITY:
                return make_error(Errc::kInvalidJson, "the text is too long");
            default:
                return make_error(Errc::kInvalidJson, simdjson::error_message(error));
        }
    }

    std::size_t utf8_fault() const {
        auto const repaired = repair_utf8(text_); // the two differ first where the fault is
        return static_cast<std::size_t>(
            std::mismatch(text_.begin(), text_.end(), repaired.begin(), repaired.end()).first - text_.begin());
    }

    std::size_t control_fault() const noexcept {
        bool inside = false;
        for (std::size_t i = 0; i < text_.size(); ++i) {
            if (text_[i] == '"') inside = !inside;
            if (!inside) continue;
            if (text_[i] == '\\') ++i;
            if (i < text_.size() && static_cast<unsigned char>(text_[i]) < 0x20) return i;
        }
        return text_.size();
    }

    std::string_view text_;
    std::size_t depth_max_;
    od::document* document_ = nullptr; // during run
    bool is_object_ = false;
    std::vector<JsonMember> members_; // of the top level, keys as written
    char const* where_ = nullptr;     // of the fault
    std::string what_;                // empty = the reader itself failed
};

thread_local std::unique_ptr<od::parser> kept_parser; // of the last JsonParser; null while it is in use

} // namespace

JsonParser::JsonParser() : parser_(std::move(kept_parser)) {
    if (!parser_) parser_ = std::make_unique<od::parser>();
}

JsonParser::~JsonParser() {
    if (parser_->capacity() <= kKeptCapacityMax) kept_parser = std::move(parser_);
}

Result<> CheckedObject::check(std::string_view text, std::size_t capacity, std::size_t depth_max) {
    if (!is_padded(text, capacity)) return make_error(Errc::kInternal, "JSON text without padding");
    members_.clear();
    Checker checker(text, depth_max);
    if (auto const checked = checker.run(capacity, parser_.get(), document_); !checked) return checked.error();
    if (!checker.is_object()) return make_error(Errc::kInvalidJson, "the text is not a JSON object");
    members_ = checker.take_members();
    return {};
}

Result<od::value> CheckedObject::enter(JsonMember const& member) {
    document_.rewind();
    od::object object;
    if (!document_.get_object().get(object)) {
        for (auto field : object) {
            od::raw_json_string key;
            od::value value;
            if (field.key().get(key)) break;
            if (key.raw() != member.key.data()) continue;
            if (field.value().get(value)) break;
            return value;
        }
    }
    return make_error(Errc::kInternal, "a checked JSON object has lost a member");
}

Result<> check_json_padded(std::string_view text, std::size_t capacity, std::size_t depth_max) {
    if (!is_padded(text, capacity)) return check_json(text, depth_max);
    JsonParser parser;
    od::document document;
    return Checker(text, depth_max).run(capacity, parser.get(), document);
}

Result<> check_json(std::string_view text, std::size_t depth_max) {
    std::string copy;
    copy.reserve(text.size() + kJsonPadding);
    copy = text; // its end is a zero byte: padded
    return check_json_padded(copy, copy.capacity(), depth_max);
}

} // namespace parley::core

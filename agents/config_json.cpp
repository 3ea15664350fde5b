// The parser of configuration files on top of Boost.JSON's event parser, see config_json.hpp.
// Owned by config_loader.cpp for one call.
// Bytes are fed one by one, so that every event has an exact place; files are at most a few MiB.
#include "agents/config_json.hpp"

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_stack.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/json.hpp"

namespace parley::agents {
namespace {

namespace json = boost::json;
using ErrorCode = boost::system::error_code;

constexpr std::size_t kDuplicateKeysMax = 100; // faults told; more would not help

struct Frame {
    bool is_object = false;
    std::optional<std::string> key = {}; // the last one read
    std::size_t index = 0;
    std::set<std::string, std::less<>> seen = {};
};

using LineByPointer = std::map<std::string, int, std::less<>>;

// Handler of json::basic_parser: builds the tree, knows where it is.
class TreeBuilder {
public:
    // Named by Boost.JSON's concept of a handler.
    // NOLINTBEGIN(readability-identifier-naming)
    static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
    static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
    static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
    static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
    // NOLINTEND(readability-identifier-naming)

    explicit TreeBuilder(LineByPointer* wanted) : wanted_(wanted) {}

    bool on_document_begin(ErrorCode&) { return true; }
    bool on_document_end(ErrorCode&) { return true; }

    bool on_object_begin(ErrorCode&) {
        enter(true);
        return true;
    }
    bool on_object_end(std::size_t n, ErrorCode&) {
        stack.push_object(n);
        leave();
        return true;
    }
    bool on_array_begin(ErrorCode&) {
        enter(false);
        return true;
    }
    bool on_array_end(std::size_t n, ErrorCode&) {
        stack.push_array(n);
        leave();
        return true;
    }

    bool on_key_part(json::string_view part, std::size_t, ErrorCode&) {
        text_.append(part.data(), part.size());
        stack.push_chars(part);
        return true;
    }
    bool on_key(json::string_view part, std::size_t, ErrorCode&) {
        text_.append(part.data(), part.size());
        stack.push_key(part);
        auto& frame = frames_.back();
        frame.key = std::exchange(text_, {});
        if (!frame.seen.insert(*frame.key).second && faults.size() < kDuplicateKeysMax) {
            faults.push_back({.file = {},
                              .pointer = pointer(),
                              .found = "the key " +
                                       json::serialize(json::string_view(frame.key->data(), frame.key->size())) +
                                       " a second time in one object",
                              .allowed = "every key once",
                              .line = line});
        }
        note_line();
        return true;
    }
    bool on_string_part(json::string_view part, std::size_t, ErrorCode&) {
        stack.push_chars(part);
        return true;
    }
    bool on_string(json::string_view part, std::size_t, ErrorCode&) {
        note_element();
        stack.push_string(part);
        done_with_value();
        return true;
    }
    bool on_number_part(json::string_view, ErrorCode&) { return true; }
    bool on_int64(std::int64_t value, json::string_view, ErrorCode&) {
        note_element();
        stack.push_int64(value);
        done_with_value();
        return true;
    }
    bool on_uint64(std::uint64_t value, json::string_view, ErrorCode&) {
        note_element();
        stack.push_uint64(value);
        done_with_value();
        return true;
    }
    bool on_double(double value, json::string_view, ErrorCode&) {
        note_element();
        if (std::isnan(value)) value = 0; // Boost.JSON 1.81 reads 0e400 so
        // It reads 1e400 as infinity, and would print it as no JSON at all.
        if (!std::isfinite(value)) {
            faults.push_back({.file = {},
                              .pointer = pointer(),
                              .found = "a number too large to be represented",
                              .allowed = "numbers up to 1.7e308",
                              .line = line});
        }
        stack.push_double(value);
        done_with_value();
        return true;
    }
    bool on_bool(bool value, ErrorCode&) {
        note_element();
        stack.push_bool(value);
        done_with_value();
        return true;
    }
    bool on_null(ErrorCode&) {
        note_element();
        stack.push_null();
        done_with_value();
        return true;
    }
    bool on_comment_part(json::string_view, ErrorCode&) { return true; }
    bool on_comment(json::string_view, ErrorCode&) { return true; }

    std::string pointer() const {
        std::string out;
        for (auto const& frame : frames_) {
            if (!frame.is_object) {
                out = join_pointer(out, frame.index);
            } else if (frame.key) {
                out = join_pointer(out, *frame.key);
            }
        }
        return out;
    }

    json::value_stack stack;
    std::vector<Fault> faults;
    int line = 1; // of the byte that is being read

private:
    void enter(bool is_object) {
        note_element();
        frames_.push_back({.is_object = is_object});
    }
    void leave() {
        frames_.pop_back();
        done_with_value();
    }
    void done_with_value() {
        if (!frames_.empty() && !frames_.back().is_object) ++frames_.back().index;
    }
    // An element of an array has no key: the line where it begins is its line.
    void note_element() {
        if (!frames_.empty() && !frames_.back().is_object) note_line();
    }
    void note_line() {
        if (wanted_ == nullptr) return;
        if (auto const entry = wanted_->find(pointer()); entry != wanted_->end() && entry->second == 0) {
            entry->second = line;
        }
    }

    LineByPointer* wanted_;
    std::vector<Frame> frames_;
    std::string text_; // the key being read
};

struct Outcome {
    std::optional<json::value> value;
    std::vector<Fault> faults;
};

std::string_view without_byte_order_mark(std::string_view text) noexcept {
    return text.substr(0, 3) == "\xEF\xBB\xBF" ? text.substr(3) : text;
}

// Only one character of the file is quoted: more could be part of a secret.
std::string describe_syntax_error(std::string_view text, std::size_t at, ErrorCode error) {
    if (error == json::error::too_deep) return "more than 32 levels of brackets";
    if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return "an empty file";
    if (at >= text.size()) return "the end of the file before the end of the JSON value";
    auto const c = static_cast<unsigned char>(text[at]);
    if (error == json::error::extra_data) return "text after the end of the JSON value";
    if (c == '\n' || c == '\r') return "the end of the line inside a value";
    if (c < 0x20 || c >= 0x7f) return "a byte that may not stand here (" + std::to_string(c) + ")";
    return std::string("an unexpected ") + text[at];
}

// Where the first byte is that belongs to no character.
std::optional<std::size_t> first_not_utf8(std::string_view text) {
    if (core::is_valid_utf8(text)) return std::nullopt;
    std::size_t at = 0;
    for (;;) {
        auto const lead = static_cast<unsigned char>(text[at]);
        std::size_t const length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        if (!core::is_valid_utf8(text.substr(at, length))) return at;
        at += length; // there is one that is not: the end is never reached
    }
}

Fault not_utf8(std::string_view text, std::size_t at) {
    auto const before = text.substr(0, at);
    auto const line_end = before.rfind('\n');
    return {.file = {},
            .pointer = {},
            .found = fmt::format("text that is not UTF-8 (byte 0x{:02X})", static_cast<unsigned char>(text[at])),
            .allowed = "JSON in UTF-8",
            .hint = "save the file as UTF-8",
            .line = static_cast<int>(std::count(before.begin(), before.end(), '\n')) + 1,
            .column = static_cast<int>(at - (line_end == std::string_view::npos ? 0 : line_end + 1)) + 1};
}

// Comments become blanks of the same length, so that every place stays what it is: Boost.JSON 1.81 loses its way in a
// comment that does not come in one piece. What is no complete comment is left for the parser to refuse.
std::string without_comments(std::string_view text) {
    std::string out(text);
    bool in_string = false;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (in_string && text[at] == '\\') {
            ++at;
        } else if (text[at] == '"') {
            in_string = !in_string;
        } else if (!in_string && text[at] == '/') {
            auto const opening = text.substr(at, 2);
            auto end = text.size();
            if (opening == "//") {
                end = std::min(end, text.find('\n', at));
            } else if (auto const close = text.find("*/", at + 2); opening == "/*" && close != std::string_view::npos) {
                end = close + 2;
            } else {
                break;
            }
            for (; at < end; ++at) {
                if (text[at] != '\n') out[at] = ' ';
            }
            --at;
        }
    }
    return out;
}

Outcome parse(std::string_view original, JsonStyle style, LineByPointer* wanted) {
    original = without_byte_order_mark(original);
    auto const text = style == JsonStyle::kRelaxed ? without_comments(original) : std::string(original);
    if (auto const bad = first_not_utf8(text)) return {std::nullopt, {not_utf8(text, *bad)}};
    json::parse_options options;
    options.allow_trailing_commas = style == JsonStyle::kRelaxed;
    json::basic_parser<TreeBuilder> parser(options, wanted);
    auto& builder = parser.handler();
    builder.stack.reset();
    ErrorCode error;
    std::size_t at = 0;
    std::size_t line_start = 0;
    for (; at < text.size() && !error; ++at) {
        auto const read = parser.write_some(true, text.data() + at, 1, error);
        if (!error && read == 0) error = json::make_error_code(json::error::extra_data);
        if (error) break;
        if (text[at] == '\n') {
            ++builder.line;
            line_start = at + 1;
        }
    }
    if (!error) parser.write_some(false, text.data() + text.size(), 0, error);
    if (!error) return {builder.stack.release(), std::move(builder.faults)};
    Fault fault{.file = {},
                .pointer = {},
                .found = describe_syntax_error(text, at, error),
                .allowed = style == JsonStyle::kStrict ? "JSON" : "JSON, with comments and trailing commas if you like",
                .line = builder.line,
                .column = static_cast<int>(at - line_start) + 1};
    if (auto where = builder.pointer(); !where.empty()) fault.hint = "in or just before " + where;
    return {std::nullopt, {std::move(fault)}};
}

void append_escaped(std::string& out, std::string_view key) {
    for (char const c : key) {
        if (c == '~') {
            out += "~0";
        } else if (c == '/') {
            out += "~1";
        } else {
            out += c;
        }
    }
}

} // namespace

ParsedJson parse_config_json(std::string_view text, JsonStyle style) {
    auto outcome = parse(text, style, nullptr);
    if (!outcome.value && style == JsonStyle::kStrict && parse(text, JsonStyle::kRelaxed, nullptr).value) {
        outcome.faults.front().hint = "comments and commas before a closing bracket are not allowed in this file";
    }
    return {std::move(outcome.value), std::move(outcome.faults)};
}

void set_lines(std::string_view text, JsonStyle style, std::vector<Fault>& faults, std::size_t first) {
    LineByPointer wanted;
    for (std::size_t i = first; i < faults.size(); ++i) {
        if (!faults[i].pointer.empty()) wanted.emplace(faults[i].pointer, 0);
    }
    if (wanted.empty()) return;
    parse(text, style, &wanted);
    for (std::size_t i = first; i < faults.size(); ++i) {
        if (auto const entry = wanted.find(faults[i].pointer); entry != wanted.end() && faults[i].line == 0) {
            faults[i].line = entry->second;
        }
    }
}

std::string join_pointer(std::string_view parent, std::string_view key) {
    std::string out(parent);
    out += '/';
    append_escaped(out, key);
    return out;
}

std::string join_pointer(std::string_view parent, std::size_t index) {
    return std::string(parent) + '/' + std::to_string(index);
}

} // namespace parley::agents

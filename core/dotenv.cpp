// The reader of .env files, see dotenv.hpp.
// Owned by whoever reads configuration; no state outside of one call.
// One pass over the text; a line at fault never hides the next one.
#include "core/dotenv.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace parley::core {
namespace {

bool is_blank(char c) noexcept {
    return c == ' ' || c == '\t';
}

bool is_name_char(char c, bool first) noexcept {
    bool const letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
    return letter || (!first && c >= '0' && c <= '9');
}

class Reader {
public:
    explicit Reader(std::string_view text) : text_(text) {
        if (text_.substr(0, 3) == "\xEF\xBB\xBF") at_ = 3;
    }

    Dotenv read() && {
        while (at_ < text_.size())
            read_line();
        return std::move(result_);
    }

private:
    bool at_end_of_line() const noexcept { return at_ >= text_.size() || text_[at_] == '\n' || text_[at_] == '\r'; }

    void skip_blanks() noexcept {
        while (at_ < text_.size() && is_blank(text_[at_]))
            ++at_;
    }

    // To the start of the next line; CRLF, LF and a bare CR all end one.
    void skip_line() noexcept {
        while (!at_end_of_line())
            ++at_;
        if (at_ >= text_.size()) return;
        if (text_[at_] == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n') ++at_;
        ++at_;
        ++line_;
    }

    void fault(int line, std::string problem) { result_.faults.push_back({line, std::move(problem)}); }

    std::string_view read_name() noexcept {
        auto const start = at_;
        while (at_ < text_.size() && is_name_char(text_[at_], at_ == start))
            ++at_;
        return text_.substr(start, at_ - start);
    }

    void read_line() {
        skip_blanks();
        if (at_end_of_line() || text_[at_] == '#') return skip_line();
        auto const line = line_;
        auto name = read_name();
        if (name == "export" && at_ < text_.size() && is_blank(text_[at_])) {
            skip_blanks();
            if (!at_end_of_line() && text_[at_] != '=') name = read_name();
        }
        skip_blanks();
        if (name.empty() || at_ >= text_.size() || text_[at_] != '=') {
            fault(line, "not of the form NAME=value (a name has letters, digits and _, and no digit first)");
            return skip_line();
        }
        ++at_;
        skip_blanks();
        auto value = read_value(line);
        if (value && value->find('\0') != std::string::npos) {
            fault(line, "the value holds a zero byte");
            value.reset();
        }
        if (value) result_.entries.push_back({std::string(name), std::move(*value), line});
        skip_line();
    }

    std::optional<std::string> read_value(int line) {
        if (!at_end_of_line() && (text_[at_] == '"' || text_[at_] == '\'')) return read_quoted(line);
        auto const start = at_;
        auto end = at_;
        for (; !at_end_of_line(); ++at_) {
            if (text_[at_] == '#' && (at_ == start || is_blank(text_[at_ - 1]))) break;
            if (!is_blank(text_[at_])) end = at_ + 1;
        }
        return std::string(text_.substr(start, end - start));
    }

    std::optional<std::string> read_quoted(int line) {
        auto const after_open = at_ + 1;
        char const quote = text_[at_++];
        int lines = 0;
        std::string value;
        for (; at_ < text_.size() && text_[at_] != quote; ++at_) {
            char c = text_[at_];
            if (c == '\n') ++lines;
            if (quote == '"' && c == '\\' && at_ + 1 < text_.size()) {
                if (auto const plain = unescape(text_[at_ + 1])) {
                    c = *plain;
                    ++at_;
                }
            }
            value += c;
        }
        if (at_ >= text_.size()) {
            // Go on with the next line: the rest of the file is more likely right than part of this value.
            at_ = after_open;
            fault(line, std::string("the value opens with ") + quote + " and is never closed by one");
            return std::nullopt;
        }
        ++at_;
        line_ += lines;
        skip_blanks();
        if (!at_end_of_line() && text_[at_] != '#') {
            fault(line_, "text after the closing quote (only a # comment may follow)");
            return std::nullopt;
        }
        return value;
    }

    static std::optional<char> unescape(char c) noexcept {
        switch (c) {
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case '\\':
            case '"':
            case '$':
                return c;
            default:
                return std::nullopt;
        }
    }

    std::string_view text_;
    std::size_t at_ = 0;
    int line_ = 1;
    Dotenv result_;
};

} // namespace

std::string const* Dotenv::find(std::string_view name) const noexcept {
    auto const entry =
        std::find_if(entries.rbegin(), entries.rend(), [name](DotenvEntry const& e) { return e.name == name; });
    return entry == entries.rend() ? nullptr : &entry->value;
}

Dotenv parse_dotenv(std::string_view text) {
    return Reader(text).read();
}

} // namespace parley::core

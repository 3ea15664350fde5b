#include "mcp/line_reader.hpp"

#include <charconv>

namespace parley::mcp {
namespace {

constexpr std::size_t kTailBytes = 256;
constexpr std::size_t kHeadBytes = 256;

std::optional<std::int64_t> number_after(std::string_view text, std::size_t key) {
    auto at = text.find_first_not_of(" \t:", key + 4); // "id"
    if (key == std::string_view::npos || at == std::string_view::npos) return std::nullopt;
    std::int64_t number = 0;
    auto const [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), number);
    if (error != std::errc{} || end == text.data() + at) return std::nullopt;
    return number;
}

} // namespace

void LineReader::keep(std::string_view piece) {
    if (!cut_ && line_.size() + piece.size() <= line_bytes_max_) {
        line_.append(piece);
        return;
    }
    if (!cut_) {
        cut_ = true;
        tail_.assign(line_, line_.size() > kTailBytes ? line_.size() - kTailBytes : 0);
        line_.resize(std::min(line_.size(), kHeadBytes));
        line_.shrink_to_fit();
    }
    tail_.append(piece.substr(piece.size() > kTailBytes ? piece.size() - kTailBytes : 0));
    if (tail_.size() > kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
}

std::optional<LineReader::Line> LineReader::next() {
    if (given_) {
        line_.clear();
        tail_.clear();
        cut_ = false;
        given_ = false;
    }
    auto const end = input_.find('\n');
    if (end == std::string_view::npos) {
        keep(input_);
        input_ = {};
        return std::nullopt;
    }
    auto piece = input_.substr(0, end);
    input_.remove_prefix(end + 1);
    Line line;
    if (line_.empty() && !cut_ && piece.size() <= line_bytes_max_) {
        line.text = piece; // the usual case: nothing is copied
    } else {
        keep(piece);
        given_ = true;
        line.text = line_;
        line.cut = cut_;
        line.tail = tail_;
    }
    if (!line.cut && line.text.ends_with('\r')) line.text.remove_suffix(1);
    return line;
}

std::optional<std::int64_t> id_of_cut_message(std::string_view head, std::string_view tail) {
    constexpr std::string_view key = "\"id\"";
    auto const in_head = head.find(key);
    auto const result = head.find("\"result\"");
    if (in_head != std::string_view::npos && (result == std::string_view::npos || in_head < result)) {
        if (auto const id = number_after(head, in_head)) return id;
    }
    return number_after(tail, tail.rfind(key));
}

} // namespace parley::mcp

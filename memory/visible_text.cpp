#include "memory/visible_text.hpp"

#include <array>
#include <cstddef>

namespace parley::memory {
namespace {

struct Block {
    std::string_view open; // up to where attributes may come
    std::string_view close;
};
constexpr std::array<Block, 5> kBlocks{{{"<think>", "</think>"},
                                        {"<thinking>", "</thinking>"},
                                        {"<thoughts>", "</thoughts>"},
                                        {"<reasoning>", "</reasoning>"},
                                        {"<details type=\"", "</details>"}}};
constexpr std::array<std::string_view, 3> kDetails{"reasoning\"", "tool_calls\"", "code_interpreter\""};
constexpr int kDepthMax = 32;
constexpr int kUnclosedMax = 64; // then marks are only text: each that is not closed costs a look at all that follows

bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

// A <details> that a person wrote stays.
bool opens(Block const& block, std::string_view rest) {
    if (!rest.starts_with(block.open)) return false;
    if (block.close != "</details>") return true;
    auto const type = rest.substr(block.open.size());
    for (auto const known : kDetails)
        if (type.starts_with(known)) return true;
    return false;
}

// Where the block that begins at `start` ends; npos = it is not closed.
std::size_t end_of(Block const& block, std::string_view text, std::size_t start) {
    // Any <details> inside counts, whatever its type: it has a closing mark of its own.
    auto const inner = block.close == "</details>" ? std::string_view("<details") : block.open;
    auto depth = 1;
    auto close = std::size_t{0};
    for (auto at = start + block.open.size();;) {
        if (close < at) close = text.find(block.close, at);
        if (close == std::string_view::npos) return close;
        auto const nested = text.find(inner, at);
        if (nested < close && depth < kDepthMax) {
            ++depth;
            at = nested + inner.size();
            continue;
        }
        at = close + block.close.size();
        if (--depth == 0) return at;
    }
}

} // namespace

std::string without_hidden_blocks(std::string_view text) {
    std::string out;
    auto removed = false;
    auto unclosed = 0;
    for (std::size_t at = 0; at < text.size();) {
        auto const mark = text.find('<', at);
        out += text.substr(at, mark == std::string_view::npos ? mark : mark - at);
        if (mark == std::string_view::npos) break;
        at = mark;
        Block const* block = nullptr;
        for (auto const& one : kBlocks)
            if (unclosed < kUnclosedMax && opens(one, text.substr(at))) block = &one;
        auto const end = block ? end_of(*block, text, at) : std::string_view::npos;
        if (end == std::string_view::npos) {
            auto const first = out.find_first_not_of(" \n\r\t") == std::string::npos;
            if (block != nullptr && first) return {};
            unclosed += block != nullptr ? 1 : 0;
            out.push_back('<');
            ++at;
            continue;
        }
        at = end;
        removed = true;
        // "a\n\n<block>\n\nb" becomes "a\n\nb"
        if (out.empty() || is_space(out.back()))
            while (at < text.size() && is_space(text[at]))
                ++at;
    }
    if (!removed) return std::string(text);
    while (!out.empty() && is_space(out.back()))
        out.pop_back();
    return out;
}

std::string answer_fingerprint(std::string_view text) {
    auto out = without_hidden_blocks(text);
    std::erase_if(out, is_space);
    return out;
}

} // namespace parley::memory

// Optimal string alignment distance and the choice among candidates, see nearest.hpp.
// No state.
// Three rows of at most 65 numbers per comparison.
#include "core/nearest.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace parley::core {
namespace {

constexpr std::size_t kWordBytesMax = 64;
constexpr std::size_t kPartBytesMin = 4; // shorter parts ("id", "url") are in too many words to mean one

std::string simplified(std::string_view word) {
    std::string out;
    for (char const c : word) {
        if (c == '_' || c == '-' || c == ' ') continue;
        out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return out;
}

} // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before_last;
    std::vector<std::size_t> last(b.size() + 1);
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j)
        last[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            std::size_t const replace = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            row[j] = std::min({replace, last[j] + 1, row[j - 1] + 1});
            bool const swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
        }
        before_last = std::exchange(last, row);
    }
    return last[b.size()];
}

std::optional<std::string_view> nearest(std::string_view word, std::span<std::string_view const> candidates) {
    if (word.empty() || word.size() > kWordBytesMax) return std::nullopt;
    auto const meant = simplified(word);
    std::optional<std::string_view> best;
    std::size_t best_distance = std::max<std::size_t>(1, meant.size() / 3) + 1;
    std::optional<std::string_view> containing;
    std::size_t containing_count = 0;
    for (auto const candidate : candidates) {
        if (candidate.empty() || candidate.size() > kWordBytesMax) continue;
        auto const other = simplified(candidate);
        auto const distance = edit_distance(meant, other);
        // One edit turns any one-letter word into any other: that is no likeness.
        if (distance < best_distance && distance < std::max(meant.size(), other.size())) {
            best = candidate;
            best_distance = distance;
        }
        if (meant.size() >= kPartBytesMin && other.find(meant) != std::string::npos) {
            containing = candidate;
            ++containing_count;
        }
    }
    if (!best && containing_count == 1) return containing;
    return best;
}

} // namespace parley::core

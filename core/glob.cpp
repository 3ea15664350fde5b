#include "core/glob.hpp"

namespace parley::core {

bool glob_matches(std::string_view pattern, std::string_view text) noexcept {
    std::size_t at = 0, in = 0;
    std::size_t star = std::string_view::npos, resume = 0; // the last *, and where its text ends so far
    while (in < text.size()) {
        if (at < pattern.size() && pattern[at] == '*') {
            star = at++;
            resume = in;
        } else if (at < pattern.size() && (pattern[at] == '?' || pattern[at] == text[in])) {
            ++at;
            ++in;
        } else if (star != std::string_view::npos) {
            at = star + 1;
            in = ++resume;
        } else {
            return false;
        }
    }
    while (at < pattern.size() && pattern[at] == '*')
        ++at;
    return at == pattern.size();
}

} // namespace parley::core

// Takes known secrets out of texts that others wrote: a provider's error may repeat the key that it was sent, a
// program's last words its environment. By value, so whatever the secret looks like. Adding is cheap, taking out is
// done to texts of errors only. On one thread, or const.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace parley::core {

class Redactor {
public:
    /// Shorter values are not taken for secrets: "none" or "dev" would be cut out of every sentence.
    static constexpr std::size_t kBytesMin = 6;
    static constexpr std::size_t kPassing = 16;

    /// Knows `secret` from now on, also as it looks in URLs, base64 and JSON, and what follows the scheme of a header's
    /// value ("Bearer …").
    void add(std::string_view secret);

    /// The same for a token that will be replaced: the last kPassing are known.
    void add_passing(std::string_view secret);

    /// `text` with [redacted] in the place of what is known.
    std::string operator()(std::string text) const;

private:
    std::vector<std::string> secrets_;
    std::deque<std::string> passing_;
};

} // namespace parley::core

// Takes known secrets out of texts that others wrote: a provider's error may repeat the key that it was sent, a
// program's last words its environment. By value, so whatever the secret looks like. On one thread; texts of errors
// only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace parley::core {

class Redactor {
public:
    /// Shorter values are not taken for secrets: "none" or "dev" would be cut out of every sentence.
    static constexpr std::size_t kBytesMin = 6;
    static constexpr std::size_t kKept = 256; // values; the oldest goes first

    /// Knows `secret` from now on; of a header's value also what follows its scheme ("Bearer …"), and each value as it
    /// looks in URLs, base64 and JSON.
    void add(std::string_view secret);

    /// `text` with [redacted] in the place of what is known.
    std::string operator()(std::string text) const;

private:
    void add_one(std::string value);

    std::vector<std::string> values_; // longest first, so that a part does not hide the whole
};

} // namespace parley::core

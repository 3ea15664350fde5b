#include "core/redactor.hpp"

#include <algorithm>
#include <functional>

#include "core/base64.hpp"
#include "core/json.hpp"
#include "core/percent.hpp"

namespace parley::core {
namespace {

constexpr std::string_view kInstead = "[redacted]";
constexpr std::size_t kSchemeBytesMax = 16;

// Every way in which a text may show it.
void append_spellings(std::vector<std::string>& out, std::string_view secret) {
    std::string escaped;
    append_json_body(escaped, secret);
    out.insert(out.end(), {std::string(secret), percent_encode(secret), base64(secret), base64url(secret), escaped});
    auto const scheme = secret.find(' ');
    if (scheme < kSchemeBytesMax && secret.size() - scheme > Redactor::kBytesMin)
        out.emplace_back(secret.substr(scheme + 1));
}

} // namespace

void Redactor::add(std::string_view secret) {
    if (secret.size() >= kBytesMin) secrets_.emplace_back(secret);
}

void Redactor::add_passing(std::string_view secret) {
    if (secret.size() < kBytesMin || std::ranges::find(passing_, secret) != passing_.end()) return;
    passing_.emplace_back(secret);
    if (passing_.size() > kPassing) passing_.pop_front();
}

std::string Redactor::operator()(std::string text) const {
    if (text.empty()) return text;
    std::vector<std::string> spellings;
    for (auto const& secret : secrets_)
        append_spellings(spellings, secret);
    for (auto const& secret : passing_)
        append_spellings(spellings, secret);
    // Longest first, so that a part does not hide the whole.
    std::ranges::sort(spellings, std::ranges::greater(), [](std::string const& one) { return one.size(); });
    for (auto const& spelling : spellings) {
        for (auto at = text.find(spelling); at != std::string::npos; at = text.find(spelling, at + kInstead.size()))
            text.replace(at, spelling.size(), kInstead);
    }
    return text;
}

} // namespace parley::core

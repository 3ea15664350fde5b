#include "core/redactor.hpp"

#include <algorithm>
#include <utility>

#include "core/base64.hpp"
#include "core/json.hpp"

namespace parley::core {
namespace {

constexpr std::string_view kInstead = "[redacted]";
constexpr std::size_t kSchemeBytesMax = 16;

std::string percent_encoded(std::string_view text) {
    static constexpr char kDigits[] = "0123456789ABCDEF";
    std::string out;
    for (char const c : text) {
        bool const plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
                           c == '_' || c == '.' || c == '~';
        if (plain) {
            out.push_back(c);
        } else {
            auto const byte = static_cast<unsigned char>(c);
            out.append({'%', kDigits[byte >> 4], kDigits[byte & 15]});
        }
    }
    return out;
}

} // namespace

void Redactor::add_one(std::string value) {
    if (value.size() < kBytesMin || std::ranges::find(values_, value) != values_.end()) return;
    if (values_.size() >= kKept) values_.pop_back();
    auto const longer = [&](std::string const& other) { return other.size() > value.size(); };
    values_.insert(std::ranges::find_if_not(values_, longer), std::move(value));
}

void Redactor::add(std::string_view secret) {
    if (secret.size() < kBytesMin) return;
    add_one(std::string(secret));
    add_one(percent_encoded(secret));
    add_one(base64(secret));
    add_one(base64url(secret));
    std::string escaped;
    append_json_body(escaped, secret);
    add_one(std::move(escaped));
    if (auto const scheme = secret.find(' '); scheme < kSchemeBytesMax) // none is far away
        add_one(std::string(secret.substr(scheme + 1)));
}

std::string Redactor::operator()(std::string text) const {
    for (auto const& value : values_) {
        for (auto at = text.find(value); at != std::string::npos; at = text.find(value, at + kInstead.size()))
            text.replace(at, value.size(), kInstead);
    }
    return text;
}

} // namespace parley::core

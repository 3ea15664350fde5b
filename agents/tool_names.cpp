#include "agents/tool_names.hpp"

#include <algorithm>

#include "core/hash.hpp"

namespace parley::agents {
namespace {

constexpr std::size_t kHashDigits = 8;

bool is_letter(char c) noexcept {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

std::string plain_name(std::string_view full) {
    std::string name(full);
    for (auto& c : name) {
        if (!is_letter(c) && !(c >= '0' && c <= '9') && c != '_' && c != '-') c = '_';
    }
    if (name.empty() || !is_letter(name.front())) name.insert(0, "t_");
    return name;
}

// NUL can stand in neither part, so that ("a", "b__c") and ("a__b", "c") differ.
std::string hash_of(std::string_view label, std::string_view tool, std::size_t salt) {
    std::string text(label);
    text += '\0';
    text += tool;
    if (salt > 0) text += '\0' + std::to_string(salt);
    return core::sha256_hex(text).substr(0, kHashDigits);
}

std::string with_hash(std::string name, std::string const& hash) {
    name.resize(std::min(name.size(), kToolNameBytesMax - kHashDigits - 1));
    return name + "_" + hash;
}

} // namespace

std::string wire_name(std::string_view label, std::string_view tool) {
    auto name = plain_name(std::string(label) + "__" + std::string(tool));
    if (name.size() <= kToolNameBytesMax) return name;
    return with_hash(std::move(name), hash_of(label, tool, 0));
}

std::string unique_wire_name(std::string_view label, std::string_view tool, std::set<std::string, std::less<>>& taken) {
    auto name = wire_name(label, tool);
    auto const plain = name;
    for (std::size_t salt = 0; !taken.insert(name).second; ++salt)
        name = with_hash(plain, hash_of(label, tool, salt));
    return name;
}

} // namespace parley::agents

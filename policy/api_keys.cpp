#include "policy/api_keys.hpp"

#include <algorithm>

#include "core/hex.hpp"

namespace parley::policy {
namespace {

constexpr std::string_view kSeparators = ", \t\r\n";

std::string principal_of(core::Sha256 const& digest) {
    constexpr std::size_t kShownBytes = 6;
    return "key:" + core::hex({reinterpret_cast<char const*>(digest.data()), kShownBytes});
}

} // namespace

std::vector<std::string_view> ApiKeys::split(std::string_view list) {
    std::vector<std::string_view> keys;
    while (!list.empty()) {
        auto const start = list.find_first_not_of(kSeparators);
        if (start == std::string_view::npos) break;
        list.remove_prefix(start);
        keys.push_back(list.substr(0, list.find_first_of(kSeparators)));
        list.remove_prefix(keys.back().size());
    }
    return keys;
}

ApiKeys ApiKeys::from_list(std::string_view list) {
    ApiKeys keys;
    for (auto const key : split(list)) {
        auto const digest = core::sha256(key);
        if (std::find(keys.digests_.begin(), keys.digests_.end(), digest) == keys.digests_.end())
            keys.digests_.push_back(digest);
    }
    return keys;
}

void ApiKeys::add(ApiKeys const& more) {
    for (auto const& digest : more.digests_)
        if (std::ranges::find(digests_, digest) == digests_.end()) digests_.push_back(digest);
}

bool ApiKeys::has_principal(std::string_view principal) const {
    return std::ranges::any_of(digests_, [&](auto const& digest) { return principal_of(digest) == principal; });
}

std::optional<std::string> ApiKeys::principal(std::string_view key) const {
    if (key.empty() || key.size() > kKeyBytesMax) return std::nullopt;
    auto const digest = core::sha256(key);
    auto known = false;
    for (auto const& one : digests_)
        known = core::equal_in_constant_time(one, digest) || known; // always all of them
    if (!known) return std::nullopt;
    return principal_of(digest);
}

} // namespace parley::policy

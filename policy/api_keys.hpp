// Who may come in. Keys are known only by the SHA-256 of the whole key. Immutable; shared by all loops.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/hash.hpp"

namespace parley::policy {

class ApiKeys {
public:
    static constexpr std::size_t kKeyBytesMax = 512; // longer is not a key of ours: not even hashed

    ApiKeys() = default;

    /// The keys of such a list as PARLEY_API_KEYS: separated by commas or white space. Valid as long as the list.
    static std::vector<std::string_view> split(std::string_view list);

    /// Those keys. Empty = none.
    static ApiKeys from_list(std::string_view list);

    /// Takes in the keys of `more`.
    void add(ApiKeys const& more);

    bool empty() const noexcept { return digests_.empty(); }
    std::size_t size() const noexcept { return digests_.size(); }

    /// The principal of a key ("key:" and the first 12 hex digits of its digest), or nothing for an unknown key.
    /// Takes the same time for every wrong key of one length.
    std::optional<std::string> principal(std::string_view key) const;

    /// True for the principal of one of these keys.
    bool has_principal(std::string_view principal) const;

private:
    std::vector<core::Sha256> digests_;
};

} // namespace parley::policy

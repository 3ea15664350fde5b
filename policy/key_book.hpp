// All stored keys at one moment, to be asked without waiting. Immutable; loops hold it and a newer one replaces it.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "core/secret.hpp"
#include "policy/key_record.hpp"

namespace parley::policy {

class KeyBook {
public:
    KeyBook() = default;
    explicit KeyBook(std::vector<KeyRecord> records);

    bool empty() const noexcept { return records_.empty(); }
    std::size_t size() const noexcept { return records_.size(); }

    /// The record of a key that is valid now, else nullptr. Found by the digest of the whole key: how long it takes
    /// tells nothing of any other key.
    KeyRecord const* find(std::string_view key, std::int64_t now_ms) const;

    /// The record behind KeyRecord::principal(), else nullptr.
    KeyRecord const* of_principal(std::string_view principal) const noexcept;

private:
    std::vector<KeyRecord> records_;
    std::map<core::Sha256, std::size_t> by_digest_;
    std::map<std::string, std::size_t, std::less<>> by_principal_;
};

} // namespace parley::policy

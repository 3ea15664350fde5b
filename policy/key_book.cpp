#include "policy/key_book.hpp"

#include <utility>

#include "policy/api_keys.hpp"

namespace parley::policy {

KeyBook::KeyBook(std::vector<KeyRecord> records) : records_(std::move(records)) {
    for (std::size_t i = 0; i < records_.size(); ++i) {
        by_digest_.emplace(records_[i].digest, i);
        if (records_[i].old_digest) by_digest_.emplace(*records_[i].old_digest, i);
        by_principal_.emplace(records_[i].principal(), i);
    }
}

KeyRecord const* KeyBook::find(std::string_view key, std::int64_t now_ms) const {
    if (records_.empty() || key.empty() || key.size() > ApiKeys::kKeyBytesMax) return nullptr;
    auto const digest = core::sha256(key);
    auto const found = by_digest_.find(digest);
    if (found == by_digest_.end()) return nullptr;
    auto const& record = records_[found->second];
    if (record.state(now_ms) != "active") return nullptr;
    if (record.digest != digest && record.old_expires_ms <= now_ms) return nullptr;
    return &record;
}

KeyRecord const* KeyBook::of_principal(std::string_view principal) const noexcept {
    auto const found = by_principal_.find(principal);
    return found == by_principal_.end() ? nullptr : &records_[found->second];
}

} // namespace parley::policy

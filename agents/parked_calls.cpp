#include "agents/parked_calls.hpp"

#include "core/hash.hpp"

namespace parley::agents {

std::size_t ParkedTurn::bytes() const noexcept {
    std::size_t sum = sizeof(ParkedTurn);
    for (auto const& message : messages)
        sum += message.json.size() + sizeof(LoopMessage);
    for (auto const& id : client_call_ids)
        sum += id.size() + sizeof(std::string);
    return sum;
}

std::string ParkedCalls::key(mcp::Caller const& caller, std::string_view agent_id, std::string_view asked,
                             std::string_view client_call_id) {
    std::string text;
    for (std::string_view const part :
         {std::string_view(caller.principal), std::string_view(caller.user_id), agent_id, asked, client_call_id}) {
        text += std::to_string(part.size());
        text += ':';
        text += part;
    }
    return core::sha256_hex(text);
}

void ParkedCalls::park(std::string key, std::shared_ptr<ParkedTurn const> turn, core::SteadyTime now) {
    auto const bytes = turn->bytes();
    if (bytes > limits_.bytes_max) return;
    std::lock_guard const lock(mutex_);
    if (auto const known = by_key_.find(key); known != by_key_.end()) drop(known->second);
    while (!entries_.empty() && (entries_.front().expires <= now || entries_.size() >= limits_.entries_max ||
                                 bytes_ + bytes > limits_.bytes_max))
        drop(entries_.begin());
    entries_.push_back({std::move(key), std::move(turn), now + limits_.keep});
    by_key_.emplace(entries_.back().key, std::prev(entries_.end()));
    bytes_ += bytes;
    count_.store(entries_.size(), std::memory_order_relaxed);
}

std::shared_ptr<ParkedTurn const> ParkedCalls::find(std::string const& key, core::SteadyTime now) {
    std::lock_guard const lock(mutex_);
    auto const known = by_key_.find(key);
    if (known == by_key_.end()) return nullptr;
    if (known->second->expires > now) return known->second->turn;
    drop(known->second);
    return nullptr;
}

void ParkedCalls::drop(std::list<Entry>::iterator entry) {
    bytes_ -= entry->turn->bytes();
    by_key_.erase(entry->key);
    entries_.erase(entry);
    count_.store(entries_.size(), std::memory_order_relaxed);
}

} // namespace parley::agents

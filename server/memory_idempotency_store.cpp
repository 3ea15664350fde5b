// A map of keys, and the order in which their answers end: all live equally long, so the oldest is the first to go.
#include "server/memory_idempotency_store.hpp"

#include <iterator>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

namespace parley::server {

using core::SteadyTime;

namespace {
using Conversation = std::pair<std::string, std::string>; // whose, and its session
}

class MemoryIdempotencyStore::State {
public:
    State(IdempotencyLimits limits, Clock now) : limits_(limits), now_(std::move(now)) {}

    // Found::state kNew means that the entry is now the caller's to keep or to release.
    Found look_up(IdempotencyKey const& key, core::Sha256 const& fingerprint) {
        std::lock_guard const lock(mutex_);
        forget_old(now_());
        auto const [found, made] = entries_.try_emplace(key);
        auto& entry = found->second;
        if (made) {
            entry.fingerprint = fingerprint;
            ++in_progress_;
            return {IdempotencyStore::State::kNew};
        }
        if (!core::equal_in_constant_time(entry.fingerprint, fingerprint)) {
            return {IdempotencyStore::State::kOtherRequest};
        }
        if (entry.in_progress) return {IdempotencyStore::State::kInProgress};
        if (!entry.answer) return {IdempotencyStore::State::kNotKept};
        return {IdempotencyStore::State::kAnswered, {}, entry.answer};
    }

    void keep(IdempotencyKey const& key, std::string answer, std::optional<Conversation> conversation) {
        auto const kept = answer.size() <= limits_.answer_bytes_max
                              ? std::make_shared<std::string const>(std::move(answer))
                              : nullptr;
        std::lock_guard const lock(mutex_);
        auto const found = entries_.find(key);
        if (found == entries_.end()) return;
        auto const now = now_();
        auto& entry = found->second;
        entry.in_progress = false;
        entry.answer = kept;
        entry.conversation = std::move(conversation);
        entry.bytes = kBytesOfEntry + key.principal.size() + key.route.size() + key.key.size();
        if (kept) entry.bytes += kept->size();
        --in_progress_;
        bytes_ += entry.bytes;
        ends_.push_back({now + limits_.ttl, found});
        forget_old(now);
    }

    void release(IdempotencyKey const& key) noexcept {
        std::lock_guard const lock(mutex_);
        if (entries_.erase(key) != 0) --in_progress_;
    }

    // Seldom, and there are few enough to look at all.
    void forget(std::string_view owner, std::string_view session) {
        std::lock_guard const lock(mutex_);
        for (auto end = ends_.begin(); end != ends_.end();) {
            auto const& of = end->entry->second.conversation;
            auto const goes = of && of->first == owner && (session.empty() || of->second == session);
            end = goes ? drop(end) : std::next(end);
        }
    }

    Size size() const {
        std::lock_guard const lock(mutex_);
        return {ends_.size(), bytes_, in_progress_};
    }

private:
    static constexpr std::size_t kBytesOfEntry = 256; // of the nodes around it, roughly

    struct Entry {
        core::Sha256 fingerprint{};
        std::shared_ptr<std::string const> answer;
        std::optional<Conversation> conversation; // that it is part of
        std::size_t bytes = 0;
        bool in_progress = true;
    };
    using Entries = std::map<IdempotencyKey, Entry>;
    struct End {
        SteadyTime at;
        Entries::iterator entry;
    };

    void forget_old(SteadyTime now) {
        while (!ends_.empty() &&
               (ends_.front().at <= now || ends_.size() > limits_.entries_max || bytes_ > limits_.bytes_max))
            drop(ends_.begin());
    }

    std::list<End>::iterator drop(std::list<End>::iterator end) {
        bytes_ -= end->entry->second.bytes;
        entries_.erase(end->entry);
        return ends_.erase(end);
    }

    IdempotencyLimits const limits_;
    Clock const now_;
    mutable std::mutex mutex_;
    Entries entries_;
    std::list<End> ends_; // of what is kept; what is in progress is bounded by the requests under way
    std::size_t bytes_ = 0;
    std::size_t in_progress_ = 0;
};

class MemoryIdempotencyStore::OwnClaim final : public Claim {
public:
    OwnClaim(std::shared_ptr<State> state, IdempotencyKey key) : state_(std::move(state)), key_(std::move(key)) {}
    OwnClaim(OwnClaim const&) = delete;
    OwnClaim& operator=(OwnClaim const&) = delete;
    ~OwnClaim() override {
        if (!kept_) state_->release(key_);
    }

    void belongs_to(std::string owner, std::string session) override {
        conversation_.emplace(std::move(owner), std::move(session));
    }

    core::Task<> keep(std::string answer) override {
        if (!kept_) state_->keep(key_, std::move(answer), std::move(conversation_));
        kept_ = true;
        co_return core::Result<>();
    }

private:
    std::shared_ptr<State> state_;
    IdempotencyKey key_;
    std::optional<Conversation> conversation_;
    bool kept_ = false;
};

MemoryIdempotencyStore::MemoryIdempotencyStore(IdempotencyLimits limits, Clock now)
    : state_(std::make_shared<State>(limits, std::move(now))) {}

core::Task<IdempotencyStore::Found> MemoryIdempotencyStore::claim(core::Context const&, IdempotencyKey key,
                                                                  core::Sha256 const& fingerprint) {
    auto found = state_->look_up(key, fingerprint);
    if (found.state == IdempotencyStore::State::kNew) {
        found.claim = std::make_unique<OwnClaim>(state_, std::move(key));
    }
    co_return found;
}

void MemoryIdempotencyStore::forget(std::string_view owner, std::string_view session) {
    state_->forget(owner, session);
}

MemoryIdempotencyStore::Size MemoryIdempotencyStore::size() const {
    return state_->size();
}

} // namespace parley::server

// Answers of idempotent requests in the memory of this process: for one replica, until it stops.
// Thread-safe; all loops share one. Nothing waits for anything but its mutex, which is held for moments.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "server/idempotency.hpp"

namespace parley::server {

class MemoryIdempotencyStore final : public IdempotencyStore {
public:
    using Clock = std::function<core::SteadyTime()>;

    explicit MemoryIdempotencyStore(IdempotencyLimits limits = {}, Clock now = &std::chrono::steady_clock::now);

    core::Task<Found> claim(core::Context const& context, IdempotencyKey key, core::Sha256 const& fingerprint) override;

    void forget(std::string_view owner, std::string_view session) override;

    struct Size {
        std::size_t entries = 0; // kept answers
        std::size_t bytes = 0;
        std::size_t in_progress = 0;
    };
    Size size() const;

private:
    class State;
    class OwnClaim;
    std::shared_ptr<State> state_; // claims may outlive the store
};

} // namespace parley::server

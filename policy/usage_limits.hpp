// How much a key may use: reserved before a model is asked, settled when it has answered. Exact for any number of
// requests at once, in any number of processes on one store: the row of a key is checked and changed by one statement.
// One per loop, used on it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "core/context.hpp"
#include "core/task.hpp"
#include "policy/key_record.hpp"

namespace parley::storage {
class Database;
struct Statement;
} // namespace parley::storage

namespace parley::policy {

/// What a request may use at most, or has used.
struct Amount {
    std::int64_t tokens = 0;
    std::int64_t cost = 0; // millionths of a US dollar
};

/// What is left in this minute, for x-ratelimit-* headers.
struct RateLimitView {
    std::int64_t limit_requests = 0; // 0 = no limit, then the others say nothing
    std::int64_t remaining_requests = 0;
    std::int64_t limit_tokens = 0;
    std::int64_t remaining_tokens = 0;
    std::int64_t resets_ms = 0; // until the minute is over
};

struct Reservation {
    std::string id;
    std::string key_id;
    Amount reserved;
    std::int64_t minute = 0;
    std::int64_t period = 0;
};

class UsageLimits {
public:
    UsageLimits(storage::Database& database, std::function<std::int64_t()> now_ms, std::string tenant = {})
        : database_(database), now_ms_(std::move(now_ms)), tenant_(std::move(tenant)) {}

    /// Counts a request, and sets `wanted` aside. `id` is this request's alone.
    /// Errors: kRateLimited with retry_after; kInsufficientQuota for a budget; those of the store.
    /// `view`, where it is not null, is set also when it is refused. After an error of the store or the context what
    /// may have been set aside is given back in the background.
    core::Task<Reservation> reserve(core::Context const& context, KeyRecord const& key, Amount wanted, std::string id,
                                    RateLimitView* view = nullptr);

    /// Puts what was really used in the place of what was set aside. May be done twice.
    core::Task<> settle(core::Context const& context, Reservation const& reservation, Amount used);

    /// Forgets reservations from before `before_ms`, whose process has died: what they set aside stays used.
    core::Task<> sweep(core::Context const& context, std::int64_t before_ms);

    struct Usage {
        std::int64_t spent_tokens = 0; // in this period
        std::int64_t spent_cost = 0;
    };
    core::Task<Usage> usage(core::Context const& context, KeyRecord const& key);

private:
    core::Awaitable<void> give_back(Reservation reservation);
    storage::Statement settlement(Reservation const& reservation, Amount used) const;

    storage::Database& database_;
    std::function<std::int64_t()> now_ms_;
    std::string tenant_;
};

/// The number of the period that `now_ms` is in, in UTC: 0 for a total, else days or months since 1970.
std::int64_t period_number(Period period, std::int64_t now_ms) noexcept;

} // namespace parley::policy

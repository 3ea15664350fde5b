#include "policy/usage_limits.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <chrono>
#include <exception>

#include "storage/database.hpp"

namespace parley::policy {
namespace {

using storage::Batch;
using storage::Statement;

constexpr std::int64_t kMinuteMs = 60'000;

// A clock that lags behind another gateway's counts into that one's minute: `>=`, never back.
constexpr std::string_view kReserve =
    "UPDATE key_usage SET "
    "requests = CASE WHEN minute >= $4 THEN requests ELSE 0 END + 1, "
    "tokens = CASE WHEN minute >= $4 THEN tokens ELSE 0 END + $5, "
    "spent_tokens = CASE WHEN period >= $7 THEN spent_tokens ELSE 0 END + $5, "
    "spent_cost = CASE WHEN period >= $7 THEN spent_cost ELSE 0 END + $6, "
    "minute = CASE WHEN minute >= $4 THEN minute ELSE $4 END, "
    "period = CASE WHEN period >= $7 THEN period ELSE $7 END, last_reservation = $3 "
    "WHERE tenant = $1 AND key_id = $2 "
    "AND ($8 = 0 OR CASE WHEN minute >= $4 THEN requests ELSE 0 END < $8) "
    "AND ($9 = 0 OR CASE WHEN minute >= $4 THEN tokens ELSE 0 END + $5 <= $9) "
    "AND ($10 = 0 OR CASE WHEN period >= $7 THEN spent_tokens ELSE 0 END + $5 <= $10) "
    "AND ($11 = 0 OR CASE WHEN period >= $7 THEN spent_cost ELSE 0 END + $6 <= $11) "
    "AND EXISTS (SELECT 1 FROM reservations WHERE tenant = $1 AND id = $3 AND granted = 0)";

struct Row {
    std::int64_t requests = 0;
    std::int64_t tokens = 0;
    std::int64_t spent_tokens = 0;
    std::int64_t spent_cost = 0;
};

Row row_in(storage::Rows const& rows, std::int64_t minute, std::int64_t period) {
    if (rows.rows.empty()) return {};
    auto const& row = rows.rows.front();
    auto const number = [&row](std::size_t i) { return storage::integer(row[i]); };
    auto const now = number(0) >= minute;
    auto const current = number(3) >= period;
    return {now ? number(1) : 0, now ? number(2) : 0, current ? number(4) : 0, current ? number(5) : 0};
}

core::Error too_much(KeyLimits const& limits, Row const& row, Amount const& wanted, std::int64_t wait_ms) {
    auto const rate = [wait_ms](std::string message) {
        auto error = core::make_error(core::Errc::kRateLimited, std::move(message));
        error.retry_after = std::chrono::milliseconds(wait_ms);
        return error;
    };
    auto const tokens = std::to_string(wanted.tokens);
    if (limits.requests_per_minute != 0 && row.requests >= limits.requests_per_minute)
        return rate("This key may make " + std::to_string(limits.requests_per_minute) +
                    " requests a minute, and they are used up.");
    if (limits.tokens_per_minute != 0 && wanted.tokens > limits.tokens_per_minute) {
        auto error = rate("This request may need " + tokens + " tokens at once, and this key has " +
                          std::to_string(limits.tokens_per_minute) + " a minute: ask for less, or with a lower " +
                          "max_completion_tokens.");
        error.retry_after.reset();
        error.should_retry = false;
        return error;
    }
    if (limits.tokens_per_minute != 0 && row.tokens + wanted.tokens > limits.tokens_per_minute)
        return rate("This key may use " + std::to_string(limits.tokens_per_minute) + " tokens a minute: " +
                    std::to_string(row.tokens) + " are used, and this request may need " + tokens + ".");
    auto const of_period = limits.budget_period == Period::kTotal
                               ? std::string()
                               : " of this " + std::string(period_name(limits.budget_period));
    auto error = core::make_error(core::Errc::kInsufficientQuota,
                                  "The budget of this key" + of_period + " does not cover this request.");
    error.should_retry = false;
    return error;
}

RateLimitView view_of(KeyLimits const& limits, Row const& row, std::int64_t now_ms) {
    RateLimitView view;
    view.limit_requests = limits.requests_per_minute;
    view.remaining_requests = std::max<std::int64_t>(0, limits.requests_per_minute - row.requests);
    view.limit_tokens = limits.tokens_per_minute;
    view.remaining_tokens = std::max<std::int64_t>(0, limits.tokens_per_minute - row.tokens);
    view.resets_ms = kMinuteMs - now_ms % kMinuteMs;
    return view;
}

// First in a batch: it names the row that the batch will lock.
Statement row_of(std::string const& tenant, std::string const& key_id) {
    return {
        "INSERT INTO key_usage (tenant, key_id, minute, requests, tokens, period, spent_tokens, spent_cost, "
        "last_reservation) VALUES ($1, $2, 0, 0, 0, 0, 0, 0, '') ON CONFLICT (tenant, key_id) DO NOTHING",
        {tenant, key_id}};
}

Statement usage_of(std::string const& tenant, std::string const& key_id) {
    return {
        "SELECT minute, requests, tokens, period, spent_tokens, spent_cost FROM key_usage "
        "WHERE tenant = $1 AND key_id = $2",
        {tenant, key_id}};
}

} // namespace

std::int64_t period_number(Period period, std::int64_t now_ms) noexcept {
    if (period == Period::kTotal) return 0;
    auto const day = std::chrono::floor<std::chrono::days>(
        std::chrono::sys_time<std::chrono::milliseconds>(std::chrono::milliseconds(now_ms)));
    if (period == Period::kDay) return day.time_since_epoch().count();
    std::chrono::year_month_day const date(day);
    return (static_cast<int>(date.year()) - 1970) * 12 + static_cast<int>(static_cast<unsigned>(date.month())) - 1;
}

// Granted or not is decided by the second statement, whose row nobody else can change until all is committed. The third
// writes it down, so that a batch that is run again after a lost connection finds its own decision.
core::Task<Reservation> UsageLimits::reserve(core::Context const& context, KeyRecord const& key, Amount wanted,
                                             std::string id, RateLimitView* view) {
    auto const now = now_ms_();
    auto const& limits = key.limits;
    Reservation made{std::move(id), key.id, wanted, now / kMinuteMs, period_number(limits.budget_period, now)};
    Batch batch;
    batch.push_back(row_of(tenant_, key.id));
    batch.push_back(
        {"INSERT INTO reservations (tenant, id, granted, created_ms) VALUES ($1, $2, 0, $3) "
         "ON CONFLICT (tenant, id) DO NOTHING",
         {tenant_, made.id, now}});
    batch.push_back({std::string(kReserve),
                     {tenant_, key.id, made.id, made.minute, wanted.tokens, wanted.cost, made.period,
                      limits.requests_per_minute, limits.tokens_per_minute, limits.budget_tokens, limits.budget_cost}});
    batch.push_back(
        {"UPDATE reservations SET granted = 1 WHERE tenant = $1 AND id = $2 AND granted = 0 AND EXISTS "
         "(SELECT 1 FROM key_usage WHERE tenant = $1 AND key_id = $3 AND last_reservation = $2)",
         {tenant_, made.id, key.id}});
    batch.push_back({"SELECT granted FROM reservations WHERE tenant = $1 AND id = $2", {tenant_, made.id}});
    batch.push_back(usage_of(tenant_, key.id));
    batch.push_back({"DELETE FROM reservations WHERE tenant = $1 AND id = $2 AND granted = 0", {tenant_, made.id}});
    auto const rows = co_await database_.write(context, std::move(batch));
    if (!rows) { // it may have been carried out, and nobody would ever settle it
        auto const executor = co_await boost::asio::this_coro::executor;
        boost::asio::co_spawn(executor, give_back(std::move(made)), [](std::exception_ptr) {});
        co_return rows.error();
    }
    auto const& granted = (*rows)[4].rows;
    auto const row = row_in((*rows)[5], made.minute, made.period);
    if (!(*rows)[5].rows.empty()) { // counted into those of another gateway, whose clock is ahead
        auto const& used = (*rows)[5].rows.front();
        made.minute = std::max(made.minute, storage::integer(used[0]));
        made.period = std::max(made.period, storage::integer(used[3]));
    }
    auto const left = view_of(limits, row, now);
    if (view) *view = left;
    if (!granted.empty() && storage::integer(granted.front().front()) == 1) co_return made;
    co_return too_much(limits, row, wanted, left.resets_ms);
}

// Whoever has left meanwhile. The reservation may come to be before this or behind it (a server can carry out what was
// sent over a connection that is gone), so what is left is a mark that it must not: sweep() takes it away.
core::Awaitable<void> UsageLimits::give_back(Reservation reservation) {
    core::Cancellation never;
    core::Context const context{never, core::SteadyTime::max(), reservation.id};
    Batch batch;
    batch.push_back(row_of(tenant_, reservation.key_id));
    batch.push_back(
        {"INSERT INTO reservations (tenant, id, granted, created_ms) VALUES ($1, $2, 2, $3) "
         "ON CONFLICT (tenant, id) DO NOTHING",
         {tenant_, reservation.id, now_ms_()}});
    batch.push_back(settlement(reservation, {}));
    batch.push_back({"UPDATE reservations SET granted = 2 WHERE tenant = $1 AND id = $2", {tenant_, reservation.id}});
    (void)co_await database_.write(context, std::move(batch));
}

storage::Statement UsageLimits::settlement(Reservation const& reservation, Amount used) const {
    return {
        "UPDATE key_usage SET tokens = tokens + CASE WHEN minute = $3 THEN $4 ELSE 0 END, "
        "spent_tokens = spent_tokens + CASE WHEN period = $5 THEN $4 ELSE 0 END, "
        "spent_cost = spent_cost + CASE WHEN period = $5 THEN $6 ELSE 0 END WHERE tenant = $1 AND key_id = $2 AND "
        "EXISTS "
        "(SELECT 1 FROM reservations WHERE tenant = $1 AND id = $7 AND granted = 1)",
        {tenant_, reservation.key_id, reservation.minute, used.tokens - reservation.reserved.tokens, reservation.period,
         used.cost - reservation.reserved.cost, reservation.id}};
}

core::Task<> UsageLimits::settle(core::Context const& context, Reservation const& reservation, Amount used) {
    Batch batch{settlement(reservation, used)};
    batch.push_back({"DELETE FROM reservations WHERE tenant = $1 AND id = $2", {tenant_, reservation.id}});
    auto const rows = co_await database_.write(context, std::move(batch));
    if (!rows) co_return rows.error();
    co_return core::Result<>();
}

core::Task<> UsageLimits::sweep(core::Context const& context, std::int64_t before_ms) {
    Batch batch;
    batch.push_back({"DELETE FROM reservations WHERE tenant = $1 AND created_ms < $2", {tenant_, before_ms}});
    auto const rows = co_await database_.write(context, std::move(batch));
    if (!rows) co_return rows.error();
    co_return core::Result<>();
}

core::Task<UsageLimits::Usage> UsageLimits::usage(core::Context const& context, KeyRecord const& key) {
    auto const now = now_ms_();
    Batch batch{usage_of(tenant_, key.id)};
    auto const rows = co_await database_.read(context, std::move(batch));
    if (!rows) co_return rows.error();
    auto const row = row_in(rows->front(), now / kMinuteMs, period_number(key.limits.budget_period, now));
    co_return Usage{row.spent_tokens, row.spent_cost};
}

} // namespace parley::policy

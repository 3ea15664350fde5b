#include "server/cli_keys.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <optional>

#include <pwd.h>
#include <unistd.h>

#include "policy/key_store.hpp"
#include "policy/usage_limits.hpp"
#include "server/cli.hpp"
#include "server/cli_parts.hpp"
#include "server/cli_store.hpp"
#include "server/routes.hpp"
#include "server/wall_clock.hpp"

namespace parley::server {
namespace {

namespace json = boost::json;
using policy::KeyRecord;
using policy::KeyStore;

constexpr double kMillionths = 1'000'000;
constexpr std::int64_t kEntriesAtOnce = 500;
constexpr std::int64_t kDurationMax = 1'000'000; // of its unit

// A number and a unit; nothing for anything else, and for a number above the limit.
std::optional<std::chrono::seconds> duration(std::string_view text) {
    std::int64_t number = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end + 1 != text.data() + text.size() || number < 0 || number > kDurationMax)
        return std::nullopt;
    switch (*end) {
        case 's':
            return std::chrono::seconds(number);
        case 'm':
            return std::chrono::minutes(number);
        case 'h':
            return std::chrono::hours(number);
        case 'd':
            return std::chrono::days(number);
        default:
            return std::nullopt;
    }
}

// What the single flags cannot say: together they make no sense.
std::string fault_of(KeyRecord const& wanted) {
    auto const& limits = wanted.limits;
    if (limits.budget_period != policy::Period::kTotal && limits.budget_tokens == 0 && limits.budget_cost == 0) {
        return fmt::format("--budget-period {} is of a budget, and there is none: add --budget-tokens or --budget-usd",
                           policy::period_name(limits.budget_period));
    }
    auto const scopes = scope_names();
    if (std::ranges::any_of(scopes, [&](auto const& scope) { return wanted.may_use_route(scope); })) return {};
    return fmt::format("this key could do nothing: none of its routes is for role {}", policy::role_name(wanted.role));
}

std::string who() {
    auto const* const user = ::getpwuid(::getuid());
    return "cli:" + (user ? std::string(user->pw_name) : std::to_string(::getuid()));
}

json::array texts(std::vector<std::string> const& from) {
    return json::array(from.begin(), from.end());
}

json::object shown(KeyRecord const& record, std::int64_t now_ms) {
    auto const& limits = record.limits;
    json::object object{{"id", record.id},
                        {"name", record.name},
                        {"role", std::string(policy::role_name(record.role))},
                        {"state", std::string(record.state(now_ms))},
                        {"principal", record.principal()},
                        {"agents", texts(record.agents)},
                        {"routes", texts(record.routes)},
                        {"requests_per_minute", limits.requests_per_minute},
                        {"tokens_per_minute", limits.tokens_per_minute},
                        {"budget_tokens", limits.budget_tokens},
                        {"budget_usd", static_cast<double>(limits.budget_cost) / kMillionths},
                        {"budget_period", std::string(policy::period_name(limits.budget_period))},
                        {"created_at", utc_text(record.created_ms)}};
    object["expires_at"] = record.expires_ms != 0 ? json::value(utc_text(record.expires_ms)) : json::value(nullptr);
    return object;
}

void print_made(KeyStore::Made const& made, bool as_json, std::int64_t now_ms) {
    if (as_json) {
        auto object = shown(made.record, now_ms);
        object["key"] = made.key.reveal();
        fmt::print("{}\n", json::serialize(object));
        return;
    }
    fmt::print("{}\n", made.key.reveal());
    fmt::print(stderr, "Key {} of '{}'. It is shown this once; gateways know it within 2 seconds.\n", made.record.id,
               made.record.name);
}

// One line for people: what differs from the default is told.
// At least cents, at most the millionths that are counted.
std::string dollars(std::int64_t millionths) {
    auto text = fmt::format("{:.6f}", static_cast<double>(millionths) / kMillionths);
    while (text.ends_with('0') && text[text.size() - 3] != '.')
        text.pop_back();
    return text;
}

std::string in_words(KeyRecord const& record, policy::UsageLimits::Usage const& usage) {
    std::string out;
    auto const add = [&out](std::string text) { out += (out.empty() ? "" : ", ") + std::move(text); };
    auto const& limits = record.limits;
    for (auto const& pattern : record.agents)
        add("agent " + pattern);
    for (auto const& scope : record.routes)
        add("route " + scope);
    if (limits.requests_per_minute != 0) add(fmt::format("{} requests/min", limits.requests_per_minute));
    if (limits.tokens_per_minute != 0) add(fmt::format("{} tokens/min", limits.tokens_per_minute));
    auto const period = limits.budget_period == policy::Period::kTotal
                            ? std::string()
                            : "/" + std::string(policy::period_name(limits.budget_period));
    if (limits.budget_tokens != 0)
        add(fmt::format("{} of {} tokens{}", usage.spent_tokens, limits.budget_tokens, period));
    if (limits.budget_cost != 0) {
        add(fmt::format("{} of {} USD{}", dollars(usage.spent_cost), dollars(limits.budget_cost), period));
    }
    if (record.expires_ms != 0) add("until " + utc_text(record.expires_ms));
    return out;
}

core::Task<> list_keys(core::Context const& context, storage::Database& database, bool as_json) {
    KeyStore keys(database, wall_clock_ms, who());
    policy::UsageLimits limits(database, wall_clock_ms);
    auto const all = co_await keys.list(context);
    if (!all) co_return all.error();
    auto const now = wall_clock_ms();
    for (auto const& record : *all) {
        auto const usage = co_await limits.usage(context, record);
        if (!usage) co_return usage.error();
        if (as_json) {
            auto object = shown(record, now);
            object["spent_tokens"] = usage->spent_tokens;
            object["spent_usd"] = static_cast<double>(usage->spent_cost) / kMillionths;
            fmt::print("{}\n", json::serialize(object));
        } else {
            fmt::print("{}  {:<7}  {:<6}  {:<24}  {}\n", record.id, record.state(now), policy::role_name(record.role),
                       record.name, in_words(record, *usage));
        }
    }
    if (all->empty() && !as_json) fmt::print(stderr, "No keys. `parley keys create --name NAME` makes one.\n");
    co_return core::Result<>();
}

core::Task<> list_audit(core::Context const& context, storage::Database& database, std::int64_t after, bool as_json) {
    policy::AuditLog log(database);
    for (;;) {
        auto const some = co_await log.list(context, after, kEntriesAtOnce);
        if (!some) co_return some.error();
        if (some->empty()) co_return core::Result<>();
        for (auto const& entry : *some) {
            after = entry.seq;
            if (as_json) {
                fmt::print("{}\n", json::serialize(json::object{{"seq", entry.seq},
                                                                {"at", utc_text(entry.at_ms)},
                                                                {"actor", entry.actor},
                                                                {"action", entry.action},
                                                                {"subject", entry.subject},
                                                                {"detail", entry.detail}}));
            } else {
                fmt::print("{:>6}  {}  {}  {}  {}  {}\n", entry.seq, utc_text(entry.at_ms), entry.actor, entry.action,
                           entry.subject, entry.detail);
            }
        }
    }
}

} // namespace

std::string check_plain(std::string const& text) {
    bool const is_plain = std::ranges::none_of(text, [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; });
    return is_plain && !text.empty() ? std::string() : "expected one line of text";
}

std::string check_duration(std::string const& text) {
    if (duration(text)) return {};
    return fmt::format("'{}': expected a number up to {} and s, m, h or d, as in 12h or 30d", text, kDurationMax);
}

std::string check_lifetime(std::string const& text) {
    auto const time = duration(text);
    if (!time || time->count() > 0) return check_duration(text);
    return "'" + text + "': the key would have expired already; a key that never expires is made without --expires";
}

int keys_create(Flags const& flags, KeyOptions const& options) {
    KeyRecord wanted;
    wanted.name = options.name;
    wanted.role = policy::role_of(options.role).value_or(policy::Role::kViewer);
    wanted.agents = options.agents;
    wanted.routes = options.routes;
    wanted.limits = {options.requests_per_minute, options.tokens_per_minute, options.budget_tokens,
                     static_cast<std::int64_t>(std::llround(options.budget_usd * kMillionths)),
                     policy::period_of(options.budget_period).value_or(policy::Period::kTotal)};
    if (auto const time = options.expires.empty() ? std::nullopt : duration(options.expires))
        wanted.expires_ms = wall_clock_ms() + std::chrono::milliseconds(*time).count();
    if (auto const fault = fault_of(wanted); !fault.empty()) {
        complain(fault);
        return kExitUsage;
    }
    return with_store(
        flags,
        // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): it lives until the loop has ended
        [&](core::Context const& context, storage::Database& database) -> core::Task<> {
            KeyStore keys(database, wall_clock_ms, who());
            auto const made = co_await keys.create(context, wanted);
            if (!made) co_return made.error();
            print_made(*made, options.as_json, wall_clock_ms());
            co_return core::Result<>();
        },
        MissingStore::kMake);
}

int keys_list(Flags const& flags, KeyOptions const& options) {
    return with_store(flags, [&](core::Context const& context, storage::Database& database) {
        return list_keys(context, database, options.as_json);
    });
}

int keys_rotate(Flags const& flags, KeyOptions const& options) {
    auto const overlap = duration(options.overlap).value_or(std::chrono::seconds(0));
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): it lives until the loop has ended
    return with_store(flags, [&](core::Context const& context, storage::Database& database) -> core::Task<> {
        KeyStore keys(database, wall_clock_ms, who());
        auto const made = co_await keys.rotate(context, options.id, overlap);
        if (!made) co_return made.error();
        print_made(*made, options.as_json, wall_clock_ms());
        co_return core::Result<>();
    });
}

int keys_revoke(Flags const& flags, KeyOptions const& options) {
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): it lives until the loop has ended
    return with_store(flags, [&](core::Context const& context, storage::Database& database) -> core::Task<> {
        KeyStore keys(database, wall_clock_ms, who());
        auto const revoked = co_await keys.revoke(context, options.id);
        if (!revoked) co_return revoked.error();
        fmt::print(stderr, "Key {} is revoked; gateways know it within 2 seconds.\n", options.id);
        co_return core::Result<>();
    });
}

int audit_list(Flags const& flags, KeyOptions const& options) {
    return with_store(flags, [&](core::Context const& context, storage::Database& database) {
        return list_audit(context, database, options.after, options.as_json);
    });
}

int audit_verify(Flags const& flags, KeyOptions const& options) {
    bool holds = false;
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): it lives until the loop has ended
    auto const code = with_store(flags, [&](core::Context const& context, storage::Database& database) -> core::Task<> {
        policy::AuditLog log(database);
        auto const verdict = co_await log.verify(context);
        if (!verdict) co_return verdict.error();
        holds = verdict->problem.empty();
        if (options.as_json) {
            fmt::print("{}\n", json::serialize(json::object{
                                   {"entries", verdict->entries},
                                   {"head", verdict->head},
                                   {"problem", holds ? json::value(nullptr) : json::value(verdict->problem)}}));
        } else {
            fmt::print("{} entries hold, head {}\n{}", verdict->entries, verdict->head,
                       holds ? std::string() : "BROKEN: " + verdict->problem + "\n");
        }
        co_return core::Result<>();
    });
    return code == kExitOk && !holds ? kExitFault : code;
}

} // namespace parley::server

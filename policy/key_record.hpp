// A key that is kept in the store: whose it is, what it may do and how much. Plain data without the key itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/hash.hpp"
#include "core/result.hpp"

namespace parley::policy {

/// admin: everything. user: agents and its own conversations. viewer: looks at agents, health and metrics, runs
/// nothing.
enum class Role : std::uint8_t { kAdmin, kUser, kViewer };

std::string_view role_name(Role role) noexcept;
std::optional<Role> role_of(std::string_view name) noexcept;

enum class Period : std::uint8_t { kTotal, kDay, kMonth }; // of a budget, in UTC

std::string_view period_name(Period period) noexcept;
std::optional<Period> period_of(std::string_view name) noexcept;

/// 0 = no limit.
struct KeyLimits {
    std::int64_t requests_per_minute = 0;
    std::int64_t tokens_per_minute = 0;
    std::int64_t budget_tokens = 0;
    std::int64_t budget_cost = 0; // millionths of a US dollar
    Period budget_period = Period::kTotal;

    bool any() const noexcept {
        return requests_per_minute != 0 || tokens_per_minute != 0 || budget_tokens != 0 || budget_cost != 0;
    }
};

struct KeyRecord {
    std::string id; // k_ and 12 hex digits
    core::Sha256 digest{};
    std::optional<core::Sha256> old_digest = {}; // what a rotation replaced
    std::int64_t old_expires_ms = 0;
    std::string name; // for people
    Role role = Role::kUser;
    std::vector<std::string> agents = {}; // patterns; empty = all
    std::vector<std::string> routes = {}; // scopes of routes; empty = all that the role may
    KeyLimits limits = {};
    std::int64_t created_ms = 0;
    std::int64_t expires_ms = 0; // since 1970, as all times; 0 = never
    std::int64_t revoked_ms = 0; // 0 = it is not

    /// Whose conversations its requests make: the same before and after a rotation.
    std::string principal() const { return "key:" + id; }
    /// `scope`: chat, embeddings, models, agents, conversations, operate. Decided by the role, narrowed by `routes`.
    bool may_use_route(std::string_view scope) const noexcept;
    bool may_use_agent(std::string_view agent_id) const noexcept;

    /// active, expired or revoked.
    std::string_view state(std::int64_t now_ms) const noexcept;
};

} // namespace parley::policy

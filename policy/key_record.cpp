#include "policy/key_record.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "core/glob.hpp"

namespace parley::policy {
namespace {

constexpr std::array<std::pair<Role, std::string_view>, 3> kRoles{
    {{Role::kAdmin, "admin"}, {Role::kUser, "user"}, {Role::kViewer, "viewer"}}};
constexpr std::array<std::pair<Period, std::string_view>, 3> kPeriods{
    {{Period::kTotal, "total"}, {Period::kDay, "day"}, {Period::kMonth, "month"}}};

bool any_fits(std::vector<std::string> const& patterns, std::string_view text) noexcept {
    return patterns.empty() || std::ranges::any_of(patterns, [text](std::string const& pattern) {
               return core::glob_matches(pattern, text);
           });
}

} // namespace

std::string_view role_name(Role role) noexcept {
    return kRoles[static_cast<std::size_t>(role)].second;
}

std::optional<Role> role_of(std::string_view name) noexcept {
    for (auto const& [role, word] : kRoles)
        if (word == name) return role;
    return std::nullopt;
}

std::string_view period_name(Period period) noexcept {
    return kPeriods[static_cast<std::size_t>(period)].second;
}

std::optional<Period> period_of(std::string_view name) noexcept {
    for (auto const& [period, word] : kPeriods)
        if (word == name) return period;
    return std::nullopt;
}

bool KeyRecord::may_use_agent(std::string_view agent_id) const noexcept {
    return any_fits(agents, agent_id);
}

bool KeyRecord::may_use_route(std::string_view scope) const noexcept {
    bool const looks_only = scope == "models" || scope == "agents";
    bool const of_role = role == Role::kAdmin || (role == Role::kUser && scope != "operate") ||
                         (role == Role::kViewer && (looks_only || scope == "operate"));
    return of_role && any_fits(routes, scope);
}

std::string_view KeyRecord::state(std::int64_t now_ms) const noexcept {
    if (revoked_ms != 0) return "revoked";
    return expires_ms != 0 && expires_ms <= now_ms ? "expired" : "active";
}

} // namespace parley::policy

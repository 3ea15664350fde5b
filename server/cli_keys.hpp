// `parley keys …` and `parley audit …`: who may use the gateway, and what was done about it. Return exit codes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/settings.hpp"

namespace parley::server {

struct KeyOptions {
    std::string id = {};
    std::string name = {};
    std::string role = "user";
    std::vector<std::string> agents = {};
    std::vector<std::string> routes = {};
    std::int64_t requests_per_minute = 0;
    std::int64_t tokens_per_minute = 0;
    std::int64_t budget_tokens = 0;
    double budget_usd = 0;
    std::string budget_period = "total";
    std::string expires = {};    // from now: 30d, 12h, 15m, 90s; empty = never
    std::string overlap = "24h"; // of a rotation
    std::int64_t after = 0;      // audit list: behind this entry
    bool as_json = false;
};

int keys_create(Flags const& flags, KeyOptions const& options);
int keys_list(Flags const& flags, KeyOptions const& options);
int keys_rotate(Flags const& flags, KeyOptions const& options);
int keys_revoke(Flags const& flags, KeyOptions const& options);
int audit_list(Flags const& flags, KeyOptions const& options);
int audit_verify(Flags const& flags, KeyOptions const& options);

/// A fault in words for what is empty or has control characters in it.
std::string check_plain(std::string const& text);

/// Seconds of "90s", "15m", "12h", "30d"; a fault in words for anything else.
std::string check_duration(std::string const& text);

/// The same, for one that must not be over at once.
std::string check_lifetime(std::string const& text);

} // namespace parley::server

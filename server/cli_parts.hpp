// What the commands share. Internal to the command line.
#pragma once

#include <optional>
#include <string_view>
#include <utility>

#include "server/settings.hpp"

namespace parley::server {

/// Settings and environment, or nothing after telling what is wrong.
std::optional<std::pair<Settings, Environment>> prepare(Flags const& flags);

/// One line on standard error.
void complain(std::string_view text);

} // namespace parley::server

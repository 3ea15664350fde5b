// A command's way to the store: opened as the gateway opens it, also while one is running on it.
#pragma once

#include <functional>
#include <memory>

#include "core/context.hpp"
#include "core/task.hpp"
#include "server/settings.hpp"
#include "storage/store.hpp"

namespace parley::server {

/// nullptr after telling what is wrong.
std::unique_ptr<storage::Store> open_named_store(Flags const& flags);

/// Runs `work` on a loop of its own, and returns an exit code after telling what went wrong.
int with_store(Flags const& flags, std::function<core::Task<>(core::Context const&, storage::Database&)> const& work);

} // namespace parley::server

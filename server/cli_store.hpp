// A command's way to the store: opened as the gateway opens it, also while one is running on it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "core/context.hpp"
#include "core/task.hpp"
#include "server/settings.hpp"
#include "storage/store.hpp"

namespace parley::server {

/// What a command does about an SQLite store that is not there: one that only looks, or changes what there is, must not
/// take an empty one that it made itself for the one that was meant.
enum class MissingStore : std::uint8_t { kMake, kRefuse };

/// nullptr after telling what is wrong.
std::unique_ptr<storage::Store> open_named_store(Flags const& flags, MissingStore missing);

using StoreWork = std::function<core::Task<>(core::Context const&, storage::Database&)>;

/// Runs `work` on a loop of its own, and returns an exit code after telling what went wrong.
int with_store(Flags const& flags, StoreWork const& work, MissingStore missing = MissingStore::kRefuse);

} // namespace parley::server

// The store of conversations as the settings name it, for the gateway and for commands. Part of app.cpp's wiring.
#pragma once

#include <memory>
#include <string>

#include "core/result.hpp"
#include "server/settings.hpp"
#include "storage/store.hpp"

namespace parley::server {

/// Postgres where the settings name one, else SQLite in the data folder; its schema is brought up to date. A Postgres
/// that is away is no error. Errors: kInvalidValue, kStoreUnavailable, with a message for the person who started it.
core::Result<std::unique_ptr<storage::Store>> open_store(Settings const& settings);

/// False where open_store would make a new SQLite file.
bool store_exists(Settings const& settings);

/// What it is, in words: "SQLite data/parley.db".
std::string store_in_words(storage::StoreState const& state);

} // namespace parley::server

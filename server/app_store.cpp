#include "server/app_store.hpp"

#include <filesystem>
#include <system_error>
#include <utility>

namespace parley::server {
namespace {

std::string sqlite_path(Settings const& settings) {
    return settings.data_dir + "/parley.db";
}

} // namespace

core::Result<std::unique_ptr<storage::Store>> open_store(Settings const& settings) {
    if (!settings.database_dsn.empty()) {
        storage::PostgresOptions options{settings.database_dsn};
        options.log = settings.log;
        auto opened = storage::open_postgres(std::move(options));
        if (opened) return opened;
        auto error = opened.error();
        error.message.insert(0, "DATABASE_URL: ");
        return error;
    }
    auto opened = storage::open_sqlite(sqlite_path(settings));
    if (opened || opened.error().code == core::Errc::kInvalidValue) return opened;
    auto error = opened.error();
    error.message += ". Name a folder that can be written with --data, or a database with DATABASE_URL.";
    return error;
}

bool store_exists(Settings const& settings) {
    if (!settings.database_dsn.empty()) return true;
    std::error_code error;
    auto const is_there = std::filesystem::exists(sqlite_path(settings), error);
    return is_there || error; // what cannot be looked at is told by opening it
}

std::string store_in_words(storage::StoreState const& state) {
    return (state.kind == "sqlite" ? "SQLite " : "Postgres ") + state.name;
}

} // namespace parley::server

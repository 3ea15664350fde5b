#include "server/app_store.hpp"

#include <utility>

namespace parley::server {

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
    auto opened = storage::open_sqlite(settings.data_dir + "/parley.db");
    if (opened || opened.error().code == core::Errc::kInvalidValue) return opened;
    auto error = opened.error();
    error.message += ". Name a folder that can be written with --data, or a database with DATABASE_URL.";
    return error;
}

std::string store_in_words(storage::StoreState const& state) {
    return (state.kind == "sqlite" ? "SQLite " : "Postgres ") + state.name;
}

} // namespace parley::server

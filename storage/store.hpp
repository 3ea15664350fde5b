// The store of the whole process. Makes a Database for each loop and knows how the store is doing.
// Created before the loops and destroyed after them; thread-safe.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "core/log.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"
#include "net/loop.hpp"
#include "storage/database.hpp"

namespace parley::storage {

struct StoreState {
    std::string kind; // sqlite, postgres
    std::string name; // what it is, for people: a path, or user@host/database
    bool ready = false;
    std::string reason = {}; // why it is not; no secrets
    int schema_version = 0;  // 0 = not known yet
};

class Store {
public:
    virtual ~Store() = default;

    /// The face for one loop, which outlives it as the store does. To be destroyed when the loop has stopped.
    virtual std::unique_ptr<Database> face(net::Loop& loop) = 0;

    virtual StoreState state() const = 0;

    /// Finishes what was begun. To be called when the loops have stopped, before they are destroyed. An SQLite store
    /// that nobody else has open is one whole file once this object is destroyed, too.
    virtual void close() = 0;
};

/// Opens the database in a folder, made if it is missing, and brings its schema up to date. Errors: kStoreUnavailable
/// with the reason; kInvalidValue for a schema that is newer than this program.
core::Result<std::unique_ptr<Store>> open_sqlite(std::string path);

struct PostgresOptions {
    core::Secret dsn; // a URI or key=value pairs, as libpq reads them; TLS modes included
    std::chrono::milliseconds connect_timeout{2'000};
    std::chrono::milliseconds acquire_timeout{1'000};   // for a connection, when there is none
    std::chrono::milliseconds statement_timeout{5'000}; // then the connection is given up
    core::LogOptions log = {};
};

/// Connects when it is used; a database that is away is only a state. Errors: kInvalidValue for a DSN that is none, and
/// for a schema that is newer than this program, where it can be asked now.
core::Result<std::unique_ptr<Store>> open_postgres(PostgresOptions options);

} // namespace parley::storage

// The tables, as a list of steps from nothing to now. A step is never changed once it is released; a new one is added.
// Steps only add (expand), so that the version before may run beside the new one during a rolling restart.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace parley::storage {

/// SQL scripts for both databases, several statements each, in Postgres' types: SQLite keeps in any column what it is
/// given. Step 1 first; the schema's version is how many of them were made.
std::span<std::string_view const> migrations() noexcept;

/// What is said about a schema that a newer program made.
std::string newer_schema(int found);

} // namespace parley::storage

// Finds the word that somebody probably meant: for "did you mean ...?" behind a misspelt key or name.
// Pure; used where configuration is read and on the command line.
// Cost is bounded: words longer than 64 bytes are not compared.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace parley::core {

/// Edits (insert, delete, replace, swap of neighbours) from `a` to `b`; bytes, case counts.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate nearest to `word`, or nothing when none is near enough to be meant (more than a third of the letters
/// wrong). Case, `_` and `-` do not count; a word that is a part of just one candidate means that one.
std::optional<std::string_view> nearest(std::string_view word, std::span<std::string_view const> candidates);

} // namespace parley::core

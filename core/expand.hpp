// Puts the values of variables into a configuration string: ${VAR}, ${VAR:-default}, ${env:VAR}, ${env:VAR:-default}.
// Pure: whoever calls brings the lookup. Runs when configuration is loaded, never on the request path.
// A value put in is not looked at again, so that a secret holding `${` stays what it is.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley::core {

/// The value of a variable, or nothing. An empty value counts as not set (what an untouched line of a .env file and
/// docker compose pass on); write ${VAR:-} where empty is meant. May be asked for `input:NAME` (VS Code's form).
using VariableLookup = std::function<std::optional<std::string>(std::string_view name)>;

inline constexpr std::size_t kExpandedBytesMax = 1U << 20U;

struct Expansion {
    std::string text;                 // complete only when `unset` and `problem` are empty
    std::vector<std::string> unset;   // names without value and default, each once, in order, the first 64
    std::string problem;              // what is wrong with the text itself, empty = nothing; quotes no values
    std::size_t problem_at_bytes = 0; // offset of the offending `${`
    bool has_reference = false;       // at least one variable was named

    bool complete() const noexcept { return unset.empty() && problem.empty(); }
};

/// Expands `text` once. `$${` stands for a literal `${`; any other `$` is an ordinary character. A `${` that opens none
/// of the forms above, and a result above `bytes_max`, are a `problem`. Never throws but for a throwing lookup.
Expansion expand(std::string_view text, VariableLookup const& lookup, std::size_t bytes_max = kExpandedBytesMax);

} // namespace parley::core

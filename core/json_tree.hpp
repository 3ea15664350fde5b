// A JSON text as a tree, for what is no hot path. No state: callable from any loop.
#pragma once

#include <boost/json/value.hpp>

#include <optional>
#include <string_view>

namespace parley::core {

/// Reads whatever check_json lets through, however deep (Boost.JSON stops at 32 levels unless it is told otherwise);
/// nothing for any other text.
std::optional<boost::json::value> json_tree(std::string_view text);

} // namespace parley::core

#include "core/json_tree.hpp"

#include <boost/json/parse.hpp>

namespace parley::core {

std::optional<boost::json::value> json_tree(std::string_view text) {
    boost::json::parse_options options;
    options.max_depth = 1024; // above what check_json ever allows
    boost::system::error_code error;
    auto value = boost::json::parse({text.data(), text.size()}, error, {}, options);
    if (error) return std::nullopt;
    return value;
}

} // namespace parley::core

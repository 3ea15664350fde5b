// Values of settings that would be taken and could never work: found at start, and said in words.
// Each function returns what is wrong and what would be right, without the name of the setting; empty = nothing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace parley::server {

/// A list of API keys that names none, or one that no request can bring. Keys are told by their place only.
std::vector<std::string> key_list_faults(std::string_view list);

std::string header_name_fault(std::string_view name);

/// An origin as browsers send it: lower case, without the port that goes without saying.
std::string normal_origin(std::string_view origin);

/// Of a normal one.
std::string origin_fault(std::string_view origin);

} // namespace parley::server

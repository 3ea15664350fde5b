// An answer of the demo model where the request wants JSON. Used by demo_script.cpp only.
// Pure; runs on the loop of the request.
#pragma once

#include <string>
#include <string_view>

namespace parley::providers {

/// JSON text as `response_format` asks for it: for json_schema the plainest value that the schema allows (as far as
/// type, properties, enum, const, anyOf and $ref say; patterns and ranges are not looked at), for json_object
/// {"you_said": `said`}. Empty when the format wants no JSON.
std::string demo_json_answer(std::string_view response_format, std::string_view said);

} // namespace parley::providers

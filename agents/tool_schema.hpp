// Tools' schemas in a form that a model's provider takes, and that can be checked in bounded time. The server's own
// schema stays as it is; this makes copies. Pure; runs when a tool list is first used, not per request.
#pragma once

#include <boost/json/object.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace parley::agents {

/// Who is to read it.
enum class SchemaProfile : std::uint8_t {
    kGeneric,    // OpenAI and all that follow it
    kGemini,     // Google's subset, also behind other providers' APIs
    kValidation, // our own check of arguments: everything kept but what could cost unbounded time
};

/// By the name of the model, which tells the family also behind a router.
SchemaProfile schema_profile(std::string_view model) noexcept;

/// The schema of an object for `profile`. Local $refs are put in place (at most kSchemaDepthMax levels and
/// kSchemaNodesMax nodes; deeper ones accept anything), others are never fetched and accept anything, too. Alternatives
/// on the top level, which providers refuse, become one object with the properties of all. Anything that is no JSON
/// object becomes an object without properties.
boost::json::object cleaned_schema(std::string_view schema, SchemaProfile profile);

inline constexpr std::size_t kSchemaDepthMax = 24;
inline constexpr std::size_t kSchemaNodesMax = 10'000;

} // namespace parley::agents

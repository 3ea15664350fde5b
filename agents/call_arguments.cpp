// The only file that sees valijson, which is all templates, and throws (see CMakeLists.txt).
#include "agents/call_arguments.hpp"

#include <boost/json.hpp>
#include <valijson/adapters/boost_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validation_results.hpp>
#include <valijson/validator.hpp>

#include <exception>

#include "agents/tool_schema.hpp"
#include "core/json.hpp"
#include "core/json_tree.hpp"

namespace parley::agents {
namespace {

using Adapter = valijson::adapters::BoostJsonAdapter;

constexpr std::size_t kProblemsMax = 3; // told at once
constexpr std::size_t kProblemBytesMax = 300;

core::Error told(std::string message) {
    return core::make_error(core::Errc::kInvalidJson, std::move(message));
}

// "<root>" and "[name]" of each level become a path such as filter.tags.
std::string path_of(std::vector<std::string> const& context) {
    std::string path;
    for (auto const& level : context) {
        if (level.size() < 3 || level.front() != '[') continue;
        if (!path.empty()) path += '.';
        path += level.substr(1, level.size() - 2);
    }
    return path.empty() ? "arguments" : path;
}

} // namespace

core::Result<boost::json::object> parse_arguments(std::string_view text) {
    if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return boost::json::object();
    if (text.size() > kArgumentsBytesMax)
        return told("The arguments are longer than " + std::to_string(kArgumentsBytesMax) + " bytes.");
    if (auto const checked = core::check_json(text, kArgumentsDepthMax); !checked)
        return told("The arguments are not valid JSON: " + checked.error().message);
    auto value = core::json_tree(text);
    if (!value) return told("The arguments are not valid JSON.");
    if (!value->is_object()) return told("The arguments must be a JSON object.");
    return std::move(value->get_object());
}

struct ArgumentSchema::Compiled {
    boost::json::value document; // outlives the schema made from it
    valijson::Schema schema;
};

ArgumentSchema::ArgumentSchema(std::string_view schema) {
    auto compiled = std::make_unique<Compiled>();
    compiled->document = cleaned_schema(schema, SchemaProfile::kValidation);
    try {
        valijson::SchemaParser parser;
        parser.populateSchema(Adapter(compiled->document), compiled->schema);
        compiled_ = std::move(compiled);
    } catch (std::exception const&) {
        // Not a schema that the library knows: nothing is checked then.
    }
}

ArgumentSchema::~ArgumentSchema() = default;

std::optional<std::string> ArgumentSchema::problem(boost::json::object const& arguments) const {
    if (!compiled_) return std::nullopt;
    boost::json::value const value(arguments);
    try {
        valijson::Validator validator;
        valijson::ValidationResults results;
        if (validator.validate(compiled_->schema, Adapter(value), &results)) return std::nullopt;
        std::string text = "The arguments do not fit the tool's schema:";
        valijson::ValidationResults::Error error;
        for (std::size_t i = 0; i < kProblemsMax && results.popError(error); ++i) {
            auto line = "\n- " + path_of(error.context) + ": " + error.description;
            if (line.size() > kProblemBytesMax) line.resize(kProblemBytesMax);
            text += core::repair_utf8(line);
        }
        return text;
    } catch (std::exception const&) {
        return std::nullopt;
    }
}

} // namespace parley::agents

// The plainest value that a JSON Schema allows, so that clients with structured output have something to try.
// Pure; runs on the loop of the request. Source: OpenAI's guide "Structured outputs", supported schemas.
#include "providers/demo_json.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

namespace parley::providers {

namespace {

namespace json = boost::json;

constexpr int kDepthMax = 8; // a schema may refer to itself
constexpr int kValuesMax = 1000;

json::value const* resolve(json::value const& root, json::string const& reference) {
    std::string_view const text(reference.data(), reference.size());
    if (!text.starts_with('#')) return nullptr;
    json::error_code failed;
    return root.find_pointer({text.data() + 1, text.size() - 1}, failed);
}

std::string_view first_type(json::object const& schema) {
    json::value const* type = schema.if_contains("type");
    if (type && type->is_array() && !type->get_array().empty()) type = &type->get_array().front();
    json::string const* name = type ? type->if_string() : nullptr;
    if (name) return {name->data(), name->size()};
    return schema.contains("properties") ? "object" : "string";
}

/// Makes the value. Its size is bounded: a few references in a schema can multiply without end.
class Plainest {
public:
    explicit Plainest(json::value const& root) : root_(root) {}

    json::value of(json::value const& schema, int depth = 0);

private:
    json::value of_type(json::object const& schema, int depth);

    json::value const& root_;
    int left_ = kValuesMax;
};

json::value Plainest::of(json::value const& schema_value, int depth) {
    json::object const* schema = schema_value.if_object();
    if (!schema || depth > kDepthMax || --left_ < 0) return nullptr;
    if (json::value const* reference = schema->if_contains("$ref"); reference && reference->is_string()) {
        json::value const* target = resolve(root_, reference->get_string());
        return target ? of(*target, depth + 1) : json::value(nullptr);
    }
    if (json::value const* fixed = schema->if_contains("const")) return *fixed;
    for (char const* name : {"enum", "anyOf", "oneOf"}) {
        json::value const* choices = schema->if_contains(name);
        if (!choices || !choices->is_array() || choices->get_array().empty()) continue;
        json::value const& first = choices->get_array().front();
        return std::string_view(name) == "enum" ? first : of(first, depth + 1);
    }
    return of_type(*schema, depth);
}

json::value Plainest::of_type(json::object const& schema, int depth) {
    std::string_view const type = first_type(schema);
    if (type == "object") {
        json::object object;
        json::value const* properties = schema.if_contains("properties");
        if (properties && properties->is_object()) {
            for (auto const& property : properties->get_object())
                object[property.key()] = of(property.value(), depth + 1);
        }
        return object;
    }
    if (type == "array") return json::array{};
    if (type == "integer" || type == "number") return 0;
    if (type == "boolean") return false;
    if (type == "null") return nullptr;
    return "demo";
}

} // namespace

std::string demo_json_answer(std::string_view response_format, std::string_view said) {
    json::error_code failed;
    json::value const format = json::parse(json::string_view(response_format.data(), response_format.size()), failed);
    if (failed || !format.is_object()) return {};
    json::value const* type = format.get_object().if_contains("type");
    if (!type || !type->is_string()) return {};
    if (type->get_string() == "json_object") {
        return json::serialize(json::object{{"you_said", json::string_view(said.data(), said.size())}});
    }
    if (type->get_string() != "json_schema") return {};
    json::value const* schema = format.find_pointer("/json_schema/schema", failed);
    return json::serialize(schema ? Plainest(*schema).of(*schema) : json::value(json::object{}));
}

} // namespace parley::providers

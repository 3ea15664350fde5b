#include "agents/tool_schema.hpp"

#include <boost/json/value.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include "core/json_tree.hpp"

namespace parley::agents {
namespace {

namespace json = boost::json;
using Words = std::initializer_list<std::string_view>;

std::string_view view(json::string_view text) noexcept {
    return {text.data(), text.size()};
}

bool is_one_of(std::string_view word, Words words) noexcept {
    return std::find(words.begin(), words.end(), word) != words.end();
}

bool is_map_of_schemas(std::string_view key) noexcept {
    return is_one_of(key, {"properties", "patternProperties", "dependentSchemas"});
}
bool is_list_of_schemas(std::string_view key) noexcept {
    return is_one_of(key, {"allOf", "anyOf", "oneOf", "prefixItems"});
}
bool is_schema(std::string_view key) noexcept {
    return is_one_of(key, {"items", "additionalProperties", "additionalItems", "not", "if", "then", "else", "contains",
                           "propertyNames", "unevaluatedProperties", "unevaluatedItems"});
}

class Cleaner {
public:
    Cleaner(json::value const& root, SchemaProfile profile) : root_(root), profile_(profile) {}

    json::object clean(json::object const& schema, std::size_t depth);
    void make_top_level(json::object& schema);

private:
    json::value clean_any(json::value const& schema, std::size_t depth);
    json::object put_in_place(json::object const& schema, std::vector<std::string>& seen) const;
    json::value const* local(std::string_view reference) const;
    bool is_dropped(std::string_view key, json::object const& schema) const;
    void add_member(json::object& out, std::string_view key, json::value const& value, std::size_t depth);
    void mend_type(json::object& out) const;
    void mend_for_gemini(json::object& out) const;
    static void merge_alternatives(json::object& schema, std::string_view key);

    json::value const& root_;
    SchemaProfile profile_;
    std::size_t nodes_ = 0;
    std::vector<std::string> open_; // references being put in place, from the outside in
};

/// The place that `#/$defs/name` and the like point to.
json::value const* Cleaner::local(std::string_view reference) const {
    if (!reference.starts_with('#')) return nullptr;
    reference.remove_prefix(1);
    boost::system::error_code error;
    auto const* const found = root_.find_pointer({reference.data(), reference.size()}, error);
    return error ? nullptr : found;
}

/// `schema` with its $ref, and that one's, replaced by what they point to; members beside a $ref win.
json::object Cleaner::put_in_place(json::object const& schema, std::vector<std::string>& seen) const {
    auto const* const reference = schema.if_contains("$ref");
    if (reference == nullptr || !reference->is_string()) return schema;
    json::object out;
    std::string const name(view(reference->get_string()));
    auto const is_open = [&](std::vector<std::string> const& list) {
        return std::find(list.begin(), list.end(), name) != list.end();
    };
    auto const* const target = is_open(open_) || is_open(seen) ? nullptr : local(name);
    if (target != nullptr && target->is_object()) {
        seen.push_back(name);
        out = put_in_place(target->get_object(), seen);
    }
    for (auto const& member : schema) {
        if (member.key() != "$ref") out[member.key()] = member.value();
    }
    return out;
}

bool Cleaner::is_dropped(std::string_view key, json::object const& schema) const {
    if (is_one_of(key, {"$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef",
                        "$vocabulary", "$comment", "examples", "example", "$defs", "definitions", "x-mcp-header"})) {
        return key != "id" || (schema.contains("id") && schema.at("id").is_string());
    }
    if (profile_ == SchemaProfile::kValidation) {
        // Regular expressions and comparing all with all are what can take for ever.
        if (is_one_of(key, {"pattern", "format", "uniqueItems", "patternProperties", "propertyNames", "default",
                            "description", "title"}))
            return true;
        return is_one_of(key, {"additionalProperties", "unevaluatedProperties"}) &&
               schema.contains("patternProperties");
    }
    if (profile_ == SchemaProfile::kGemini) {
        return !is_one_of(
            key, {"type", "description", "title", "enum", "const", "items", "properties", "required", "anyOf", "oneOf",
                  "allOf", "format", "nullable", "minimum", "maximum", "minItems", "maxItems", "prefixItems"});
    }
    return false;
}

json::value Cleaner::clean_any(json::value const& schema, std::size_t depth) {
    if (schema.is_bool()) return schema;
    if (!schema.is_object() || depth >= kSchemaDepthMax || ++nodes_ > kSchemaNodesMax) return json::object();
    return clean(schema.get_object(), depth);
}

void Cleaner::add_member(json::object& out, std::string_view key, json::value const& value, std::size_t depth) {
    json::string_view const name(key.data(), key.size());
    if (is_map_of_schemas(key) && value.is_object()) {
        json::object map;
        for (auto const& member : value.get_object())
            map[member.key()] = clean_any(member.value(), depth + 1);
        out[name] = std::move(map);
    } else if (is_list_of_schemas(key) && value.is_array()) {
        json::array list;
        for (auto const& element : value.get_array())
            list.push_back(clean_any(element, depth + 1));
        if (!list.empty()) out[name] = std::move(list);
    } else if (key == "items" && value.is_array()) { // a tuple of the older drafts
        json::array list;
        for (auto const& element : value.get_array())
            list.push_back(clean_any(element, depth + 1));
        if (profile_ == SchemaProfile::kValidation) {
            out[name] = std::move(list);
        } else {
            out[name] =
                list.empty() ? json::value(json::object()) : json::value(json::object{{"anyOf", std::move(list)}});
        }
    } else if (is_schema(key)) {
        out[name] = clean_any(value, depth + 1);
    } else {
        out[name] = value;
    }
}

json::object Cleaner::clean(json::object const& schema, std::size_t depth) {
    std::vector<std::string> seen;
    auto const whole = put_in_place(schema, seen);
    open_.insert(open_.end(), seen.begin(), seen.end());
    json::object out;
    for (auto const& member : whole) {
        auto const key = view(member.key());
        if (!is_dropped(key, whole)) add_member(out, key, member.value(), depth);
    }
    open_.resize(open_.size() - seen.size());
    if (profile_ == SchemaProfile::kValidation) return out;
    if (auto const* const constant = out.if_contains("const")) {
        if (!out.contains("enum")) out["enum"] = json::array{*constant};
        out.erase("const");
    }
    mend_type(out);
    if (profile_ == SchemaProfile::kGemini) mend_for_gemini(out);
    return out;
}

void Cleaner::mend_type(json::object& out) const {
    if (!out.contains("type")) {
        if (out.contains("properties")) out["type"] = "object";
        if (out.contains("items") || out.contains("prefixItems")) out["type"] = "array";
    }
    auto const* const type = out.if_contains("type");
    if (type != nullptr && *type == "array" && !out.contains("items")) out["items"] = json::object();
    auto const* const required = out.if_contains("required");
    if (required != nullptr && !required->is_array()) out.erase("required"); // draft 3 wrote true
}

void Cleaner::mend_for_gemini(json::object& out) const {
    if (auto const type = out.if_contains("type"); type != nullptr && type->is_array()) {
        json::value chosen = "string";
        for (auto const& one : type->get_array()) {
            if (one == "null") {
                out["nullable"] = true;
            } else {
                chosen = one;
            }
        }
        out["type"] = chosen;
    }
    if (auto const* const values = out.if_contains("enum"); values != nullptr && values->is_array()) {
        auto const& list = values->get_array();
        if (!std::all_of(list.begin(), list.end(), [](json::value const& one) { return one.is_string(); })) {
            out.erase("enum");
        } else if (!out.contains("type")) {
            out["type"] = "string";
        }
    }
    if (auto* const alternatives = out.if_contains("oneOf")) {
        if (!out.contains("anyOf")) out["anyOf"] = *alternatives;
        out.erase("oneOf");
    }
    merge_alternatives(out, "allOf");
    if (auto const* const format = out.if_contains("format");
        format != nullptr && *format != "date-time" && *format != "enum")
        out.erase("format");
    if (out.erase("prefixItems") > 0 && !out.contains("items")) out["items"] = json::object();
    if (auto* const items = out.if_contains("items");
        items != nullptr && items->is_object() && items->get_object().empty())
        *items = json::object{{"type", "string"}};
    auto const* const properties = out.if_contains("properties");
    if (auto* const required = out.if_contains("required")) {
        json::array known;
        for (auto const& name : required->get_array()) {
            if (properties != nullptr && properties->is_object() && name.is_string() &&
                properties->get_object().contains(name.get_string()))
                known.push_back(name);
        }
        *required = std::move(known);
    }
}

/// Properties of all alternatives; required is what every one requires (allOf: what any does).
void Cleaner::merge_alternatives(json::object& schema, std::string_view key) {
    json::string_view const name(key.data(), key.size());
    auto const* const found = schema.if_contains(name);
    if (found == nullptr) return;
    auto const list = found->is_array() ? found->get_array() : json::array();
    schema.erase(name);
    auto const required_of = [](json::value const& one) {
        std::vector<std::string> names;
        auto const* const object = one.if_object();
        auto const* const required = object != nullptr ? object->if_contains("required") : nullptr;
        if (required == nullptr || !required->is_array()) return names;
        for (auto const& element : required->get_array()) {
            if (element.is_string()) names.emplace_back(view(element.get_string()));
        }
        return names;
    };
    std::vector<std::string> common = list.empty() ? std::vector<std::string>{} : required_of(list.front());
    for (auto const& one : list) {
        auto const* const object = one.if_object();
        if (object == nullptr) continue;
        auto const names = required_of(one);
        if (key == "allOf") {
            common.insert(common.end(), names.begin(), names.end());
        } else {
            std::erase_if(common,
                          [&](auto const& n) { return std::find(names.begin(), names.end(), n) == names.end(); });
        }
        for (auto const& member : *object) {
            if (member.key() != "properties" || !member.value().is_object()) {
                if (key == "allOf" && member.key() != "required" && !schema.contains(member.key()))
                    schema[member.key()] = member.value();
                continue;
            }
            auto& properties = schema["properties"];
            if (!properties.is_object()) properties = json::object();
            for (auto const& property : member.value().get_object()) {
                if (!properties.get_object().contains(property.key()))
                    properties.get_object()[property.key()] = property.value();
            }
        }
    }
    if (common.empty()) return;
    auto& required = schema["required"];
    if (!required.is_array()) required = json::array();
    for (auto const& one : common) {
        json::value const value(one);
        auto& all = required.get_array();
        if (std::find(all.begin(), all.end(), value) == all.end()) all.push_back(value);
    }
}

void Cleaner::make_top_level(json::object& schema) {
    if (profile_ == SchemaProfile::kValidation) return;
    for (std::string_view const key : {"allOf", "anyOf", "oneOf"})
        merge_alternatives(schema, key);
    for (std::string_view const key : {"not", "enum", "if", "then", "else", "items"})
        schema.erase(json::string_view(key.data(), key.size()));
    schema["type"] = "object";
    auto& properties = schema["properties"];
    if (!properties.is_object()) properties = json::object();
}

} // namespace

SchemaProfile schema_profile(std::string_view model) noexcept {
    constexpr std::string_view kName = "gemini";
    auto const found = std::search(model.begin(), model.end(), kName.begin(), kName.end(), [](char a, char b) {
        return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
    });
    return found != model.end() ? SchemaProfile::kGemini : SchemaProfile::kGeneric;
}

json::object cleaned_schema(std::string_view schema, SchemaProfile profile) {
    auto const root = core::json_tree(schema);
    json::value const empty = json::object();
    auto const& given = root && root->is_object() ? *root : empty;
    Cleaner cleaner(given, profile);
    auto out = cleaner.clean(given.get_object(), 0);
    cleaner.make_top_level(out);
    return out;
}

} // namespace parley::agents

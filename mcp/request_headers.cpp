#include "mcp/request_headers.hpp"

#include <algorithm>
#include <array>

#include "core/ascii.hpp"
#include "core/base64.hpp"
#include "core/header_text.hpp"
#include "mcp/protocol.hpp"

namespace parley::mcp {
namespace {

namespace json = boost::json;

constexpr std::size_t kSchemaDepthMax = 32;
constexpr std::string_view kBase64Start = "=?base64?";
constexpr std::string_view kBase64End = "?=";

// {{user_id}} and its like, in one pass: what is put in is not looked at again, or a user could name another one.
// Unknown ones stay: they may be the server's own.
std::string filled(std::string_view value, Caller const& caller) {
    std::array<std::pair<std::string_view, std::string_view>, 4> const known{
        {{"{{user_id}}", caller.user_id.empty() ? caller.principal : caller.user_id},
         {"{{session_id}}", caller.session_id},
         {"{{agent_id}}", caller.agent_id},
         {"{{request_id}}", caller.request_id}}};
    std::string out;
    while (!value.empty()) {
        auto const next =
            std::ranges::find_if(known, [value](auto const& one) { return value.starts_with(one.first); });
        out += next == known.end() ? value.substr(0, 1) : next->second;
        value.remove_prefix(next == known.end() ? 1 : next->first.size());
    }
    return out;
}

void append_line(std::string& out, std::string_view name, std::string_view value) {
    out.append(name).append(": ").append(value).append("\r\n");
}

core::Error refused(std::string why) {
    return core::make_error(core::Errc::kUpstreamInvalid, std::move(why));
}

class ParamHeaderReader {
public:
    core::Result<> read(json::object const& schema) {
        if (path_.size() > kSchemaDepthMax) return refused("its input schema is nested too deep");
        if (auto const* const properties = object_in(schema, "properties")) {
            for (auto const& member : *properties) {
                path_.emplace_back(member.key());
                if (auto const* const property = member.value().if_object()) {
                    auto const one = read_property(*property);
                    if (!one) return one.error();
                    auto const deeper = read(*property);
                    if (!deeper) return deeper.error();
                }
                path_.pop_back();
            }
        }
        return {};
    }

    /// Annotations in other places (items, anyOf, $defs …) cannot be followed to one value.
    std::size_t count_all(json::value const& value, std::size_t depth = 0) {
        if (depth > kSchemaDepthMax * 2) return 0;
        std::size_t n = 0;
        if (auto const* const object = value.if_object()) {
            for (auto const& member : *object)
                n += (member.key() == "x-mcp-header" ? 1 : 0) + count_all(member.value(), depth + 1);
        } else if (auto const* const array = value.if_array()) {
            for (auto const& element : *array)
                n += count_all(element, depth + 1);
        }
        return n;
    }

    std::vector<ParamHeader> found;

private:
    core::Result<> read_property(json::object const& property) {
        auto const* const annotation = property.if_contains("x-mcp-header");
        if (!annotation) return {};
        auto const name = text_in(property, "x-mcp-header");
        auto const at = "the x-mcp-header of '" + plain_text(path_.back(), 60) + "' ";
        if (!core::is_header_name(name)) return refused(at + "is not a header name");
        auto const type = text_in(property, "type");
        if (type != "string" && type != "integer" && type != "boolean")
            return refused(at + "is on something that is no string, integer or boolean");
        auto const same =
            std::ranges::any_of(found, [&](auto const& one) { return core::is_same_but_case(one.name, name); });
        if (same) return refused(at + "is there twice");
        found.push_back({path_, std::string(name)});
        return {};
    }

    std::vector<std::string> path_;
};

std::string argument_text(json::value const& value) {
    if (value.is_string()) return std::string(value.get_string());
    if (value.is_bool()) return value.get_bool() ? "true" : "false";
    if (value.is_int64()) return std::to_string(value.get_int64());
    if (value.is_uint64()) return std::to_string(value.get_uint64());
    if (value.is_double() && value.get_double() == static_cast<double>(static_cast<std::int64_t>(value.get_double())))
        return std::to_string(static_cast<std::int64_t>(value.get_double()));
    return {};
}

json::value const* argument_at(json::object const& arguments, std::vector<std::string> const& path) {
    json::object const* object = &arguments;
    json::value const* value = nullptr;
    for (auto const& name : path) {
        value = object ? object->if_contains(name) : nullptr;
        if (!value) return nullptr;
        object = value->if_object();
    }
    return value;
}

} // namespace

std::string caller_headers(ServerSpec const& spec, Caller const& caller) {
    constexpr std::string_view kUserHeader = "x-user-id";
    std::string out;
    for (auto const& [name, value] : spec.headers) {
        // An empty one is the original format's way to ask for it.
        auto const magic = value.empty() && core::is_same_but_case(name, kUserHeader);
        auto const text = filled(magic ? "{{user_id}}" : value.reveal(), caller);
        if (core::is_header_name(name) && !text.empty() && core::is_header_value(text)) append_line(out, name, text);
    }
    for (auto const& forwarded : spec.forward_headers) {
        auto const wanted = core::ascii_lower(forwarded);
        for (auto const& [name, value] : caller.headers)
            if (name == wanted && core::is_header_value(value)) append_line(out, name, value);
    }
    return out;
}

core::Result<std::vector<ParamHeader>> param_headers(json::object const& input_schema) {
    ParamHeaderReader reader;
    auto const read = reader.read(input_schema);
    if (!read) return read.error();
    if (reader.count_all(input_schema) != reader.found.size())
        return refused("it has an x-mcp-header in a place that cannot be followed");
    return std::move(reader.found);
}

std::string header_value(std::string_view text) {
    auto const plain = std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; });
    auto const padded = !text.empty() && (text.front() == ' ' || text.back() == ' ');
    auto const like_ours = text.starts_with(kBase64Start) && text.ends_with(kBase64End);
    if (plain && !padded && !like_ours) return std::string(text);
    return std::string(kBase64Start).append(core::base64(text)).append(kBase64End);
}

std::string modern_headers(std::string_view version, std::string_view method, json::object const& params,
                           std::vector<ParamHeader> const& mirrored) {
    std::string out;
    append_line(out, "mcp-protocol-version", version);
    append_line(out, "mcp-method", method);
    if (method == "tools/call" || method == "prompts/get") {
        append_line(out, "mcp-name", header_value(text_in(params, "name")));
    } else if (method == "resources/read") {
        append_line(out, "mcp-name", header_value(text_in(params, "uri")));
    }
    auto const* const arguments = object_in(params, "arguments");
    if (!arguments) return out;
    for (auto const& one : mirrored) {
        auto const* const value = argument_at(*arguments, one.path);
        if (!value || value->is_null()) continue;
        append_line(out, "mcp-param-" + one.name, header_value(argument_text(*value)));
    }
    return out;
}

} // namespace parley::mcp

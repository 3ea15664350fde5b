#include "mcp/tool_reader.hpp"

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/hash.hpp"
#include "core/json.hpp"
#include "mcp/protocol.hpp"
#include "mcp/result_sources.hpp"

namespace parley::mcp {
namespace {

namespace json = boost::json;

constexpr std::size_t kToolNameBytesMax = 128; // specification 2025-11-25; older servers have longer ones: refused
constexpr std::size_t kDefinitionBytesMax = 256 * 1024;
constexpr std::size_t kImagesBytesMax = 8 * 1024 * 1024;

core::Error refused(std::string why) {
    return core::make_error(core::Errc::kUpstreamInvalid, std::move(why));
}

void append_canonical(std::string& out, json::value const& value) {
    if (auto const* const object = value.if_object()) {
        std::vector<std::string_view> keys;
        for (auto const& member : *object)
            keys.emplace_back(member.key().data(), member.key().size());
        std::ranges::sort(keys);
        out += '{';
        for (auto const key : keys) {
            if (out.back() != '{') out += ',';
            core::append_json_string(out, key);
            out += ':';
            append_canonical(out, object->at({key.data(), key.size()}));
        }
        out += '}';
    } else if (auto const* const array = value.if_array()) {
        out += '[';
        for (auto const& element : *array) {
            if (out.back() != '[') out += ',';
            append_canonical(out, element);
        }
        out += ']';
    } else {
        out += json::serialize(value);
    }
}

std::string described(std::string_view kind, json::object const& block) {
    auto text = "[" + std::string(kind);
    for (auto const* const key : {"name", "title", "uri", "mimeType", "description"}) {
        auto const value = text_in(block, key);
        if (!value.empty()) text.append(", ").append(key).append(": ").append(value);
    }
    return text + "]";
}

class ResultReader {
public:
    void read(json::object const& result) {
        auto const* const content = result.if_contains("content");
        if (content && content->is_array()) {
            for (auto const& block : content->get_array())
                if (auto const* const object = block.if_object()) read_block(*object);
        }
    }

    std::string text;
    std::vector<Image> images;
    SourceFinder sources;

private:
    void add(std::string_view piece) {
        if (!text.empty() && !piece.empty()) text += '\n';
        text += piece;
    }

    void read_block(json::object const& block) {
        auto const type = text_in(block, "type");
        if (type == "text") {
            add(text_in(block, "text"));
            sources.read_text(text_in(block, "text"));
        } else if (type == "image") {
            read_image(block);
        } else if (type == "audio") {
            add(described("audio", block));
        } else if (type == "resource_link") {
            add(described("resource", block));
            sources.read_resource(block);
        } else if (type == "resource") {
            auto const* const resource = object_in(block, "resource");
            if (resource == nullptr) return;
            read_resource(*resource);
            sources.read_resource(*resource);
        } else {
            add("[content of a kind that is not known: " + plain_text(type, 40) + "]");
        }
    }

    void read_image(json::object const& block) {
        auto const data = text_in(block, "data");
        add("[image, " + plain_text(text_in(block, "mimeType"), 60) + ", about " + std::to_string(data.size() / 4 * 3) +
            " bytes]");
        image_bytes_ += data.size();
        if (image_bytes_ > kImagesBytesMax) return;
        images.push_back({plain_text(text_in(block, "mimeType"), 60), std::string(data)});
    }

    void read_resource(json::object const& resource) {
        auto const body = text_in(resource, "text");
        if (!body.empty() || resource.contains("text")) {
            add(described("resource", resource));
            add(body);
        } else {
            add(described("binary resource", resource));
        }
    }

    std::size_t image_bytes_ = 0;
};

} // namespace

std::string canonical_json(json::value const& value) {
    std::string out;
    append_canonical(out, value);
    return out;
}

core::Result<ListedTool> read_tool(json::object const& definition, bool modern) {
    ListedTool out;
    auto& tool = out.tool;
    tool.name = std::string(text_in(definition, "name"));
    if (tool.name.empty()) return refused("it has no name");
    if (tool.name.size() > kToolNameBytesMax) return refused("its name is longer than 128 bytes");
    auto const* const schema = object_in(definition, "inputSchema");
    if (!schema) return refused("it has no inputSchema that is an object");
    if (auto const* const execution = object_in(definition, "execution")) {
        if (text_in(*execution, "taskSupport") == "required")
            return refused("it runs as a task only, which is not known here");
    }
    tool.description = std::string(text_in(definition, "description"));
    if (tool.description.empty()) tool.description = std::string(text_in(definition, "title"));
    tool.input_schema = json::serialize(*schema);
    if (tool.input_schema.size() + tool.description.size() > kDefinitionBytesMax)
        return refused("its definition is larger than 256 KiB");
    if (auto const* const output = object_in(definition, "outputSchema")) tool.output_schema = json::serialize(*output);
    if (auto const* const annotations = object_in(definition, "annotations")) {
        auto const* const hint = annotations->if_contains("readOnlyHint");
        tool.read_only = hint && hint->is_bool() && hint->get_bool();
    }
    if (modern) {
        auto headers = param_headers(*schema);
        if (!headers) return headers.error();
        out.param_headers = std::move(*headers);
    }
    json::object pinned;
    for (auto const* const key : {"name", "title", "description", "inputSchema", "outputSchema", "annotations"})
        if (auto const* const value = definition.if_contains(key)) pinned[key] = *value;
    tool.sha256 = core::sha256_hex(canonical_json(pinned));
    return out;
}

CallResult read_call_result(json::object const& result, std::size_t text_bytes_max) {
    CallResult out;
    out.reached_tool = true;
    auto const* const failed = result.if_contains("isError");
    out.is_error = failed && failed->is_bool() && failed->get_bool();
    ResultReader reader;
    reader.read(result);
    auto const* const structured = result.if_contains("structuredContent");
    if (structured && !structured->is_null()) {
        reader.sources.read_json(*structured);
        auto text = json::serialize(*structured);
        // Servers should say the same as text; where one does not, the structure is what there is to say.
        if (reader.text.empty()) reader.text = text;
        if (text.size() <= text_bytes_max) out.structured = std::move(text);
    }
    out.text = capped(std::move(reader.text), text_bytes_max);
    out.images = std::move(reader.images);
    if (!out.is_error) out.sources = std::move(reader.sources.sources);
    return out;
}

std::size_t character_start(std::string_view text, std::size_t at) {
    while (at > 0 && at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0U) == 0x80U)
        --at;
    return at;
}

std::string capped(std::string text, std::size_t bytes_max) {
    if (text.size() <= bytes_max) return text;
    auto const head = character_start(text, bytes_max * 7 / 10);
    auto const tail = character_start(text, text.size() - bytes_max * 3 / 10);
    auto const note = "\n[… " + std::to_string(tail - head) + " bytes of " + std::to_string(text.size()) +
                      " left out: the result is too long …]\n";
    return text.substr(0, head) + note + text.substr(tail);
}

} // namespace parley::mcp

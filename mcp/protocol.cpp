#include "mcp/protocol.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <utility>

#include "core/json.hpp"

namespace parley::mcp {
namespace {

namespace json = boost::json;

json::string_view key_of(std::string_view key) noexcept {
    return {key.data(), key.size()};
}

std::string with_envelope(json::object&& message) {
    message["jsonrpc"] = "2.0";
    return json::serialize(message);
}

RpcError read_error(json::object const& error) {
    RpcError out;
    if (auto const* const code = error.if_contains("code")) {
        if (auto const* const integer = code->if_int64()) out.code = *integer;
        if (auto const* const real = code->if_double()) out.code = static_cast<std::int64_t>(*real);
    }
    out.message = std::string(text_in(error, "message"));
    if (auto const* const data = error.if_contains("data")) out.data = *data;
    return out;
}

core::Error not_rpc(std::string_view why) {
    return core::make_error(core::Errc::kUpstreamInvalid,
                            "It sent something that is not JSON-RPC: " + std::string(why));
}

} // namespace

bool is_modern_error(std::int64_t code) noexcept {
    return code == kHeaderMismatch || code == kMissingCapability || code == kUnsupportedVersion;
}

core::Result<json::value> parse_json(std::string_view text) {
    json::parse_options options;
    options.max_depth = kMessageDepthMax;
    options.allow_invalid_utf8 = false;
    boost::system::error_code error;
    auto value = json::parse(key_of(text), error, {}, options);
    if (error && !core::is_valid_utf8(text)) { // half a character cut off by a server is no reason to lose a result
        auto const repaired = core::repair_utf8(text);
        value = json::parse(key_of(repaired), error, {}, options);
    }
    if (error) return not_rpc(error.message() + ".");
    return value;
}

core::Result<Message> to_message(json::value&& value) {
    auto* const object = value.if_object();
    if (!object) return not_rpc("a message that is no object.");
    Message message;
    if (auto* const id = object->if_contains("id")) message.id = *id;
    message.method = std::string(text_in(*object, "method"));
    if (!message.method.empty()) {
        message.kind = message.id.is_null() ? Message::Kind::kNotification : Message::Kind::kRequest;
        if (auto* const params = object->if_contains("params"); params && params->is_object())
            message.params = std::move(params->get_object());
        return message;
    }
    message.kind = Message::Kind::kResponse;
    if (auto const* const error = object_in(*object, "error")) {
        message.reply.error = read_error(*error);
        return message;
    }
    auto* const result = object->if_contains("result");
    if (!result) return not_rpc("neither a method nor a result.");
    if (result->is_object()) message.reply.result = std::move(result->get_object());
    return message;
}

std::optional<RpcError> error_in(std::string_view body) {
    auto const value = parse_json(body);
    if (!value || !value->is_object()) return std::nullopt;
    auto const* const error = object_in(value->get_object(), "error");
    if (!error || !error->contains("code")) return std::nullopt;
    return read_error(*error);
}

std::string make_request(std::int64_t id, std::string_view method, json::object const& params) {
    json::object message{{"id", id}, {"method", method}};
    if (!params.empty()) message["params"] = params;
    return with_envelope(std::move(message));
}

std::string make_notification(std::string_view method, json::object const& params) {
    json::object message{{"method", method}};
    if (!params.empty()) message["params"] = params;
    return with_envelope(std::move(message));
}

std::string make_response(json::value const& id, json::object const& result) {
    return with_envelope({{"id", id}, {"result", result}});
}

std::string make_error_response(json::value const& id, std::int64_t code, std::string_view text) {
    return with_envelope({{"id", id}, {"error", json::object{{"code", code}, {"message", text}}}});
}

std::string_view text_in(json::object const& object, std::string_view key) noexcept {
    auto const* const value = object.if_contains(key_of(key));
    if (!value || !value->is_string()) return {};
    auto const& text = value->get_string();
    return {text.data(), text.size()};
}

json::object const* object_in(json::object const& object, std::string_view key) noexcept {
    auto const* const value = object.if_contains(key_of(key));
    return value ? value->if_object() : nullptr;
}

std::string plain_text(std::string_view text, std::size_t bytes_max) {
    auto out = core::repair_utf8(text.substr(0, bytes_max));
    std::replace_if(
        out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
    if (text.size() > bytes_max) out += "…";
    return out;
}

} // namespace parley::mcp

// The top level of a chat request: what is whose, what is missing, what is left out.
// Runs on the request's loop; pure, no I/O.
#include "server/chat_request.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "chat/destination_fields.hpp"
#include "core/json.hpp"
#include "core/json_object.hpp"
#include "server/chat_request_checks.hpp"
#include "server/chat_request_parts.hpp"
#include "server/chat_request_walk.hpp"

namespace parley::server {
namespace {

using core::Result;

class RequestReader {
public:
    RequestReader(ChatRequest& request, RequestLimits const& limits) : request_(request), limits_(limits) {}

    Result<> read() {
        auto const& body = request_.body->get();
        core::CheckedObject object;
        auto const checked = object.check(body, body.capacity(), limits_.depth_max);
        if (!checked) return unreadable_body(body, checked.error(), limits_.depth_max);
        if (object.members().size() > limits_.fields_max) {
            return core::make_error(core::Errc::kInvalidValue,
                                    fmt::format("The request has more than {} fields.", limits_.fields_max));
        }
        auto const* const readable_end = body.data() + body.capacity();
        for (auto const& member : object.members()) {
            auto const name = name_of(member.key);
            auto const taken =
                name == "messages" ? take_messages(object, member) : take(name, {member.json, readable_end});
            if (!taken) return taken;
        }
        return finish();
    }

private:
    // Keys written with escapes are the same keys. One that needs them cannot be a name that anybody knows: empty.
    std::string_view name_of(std::string_view key) {
        if (key.find('\\') == key.npos) return key;
        auto const& name = request_.made.emplace_back(core::json_body_to_text(key));
        std::string again;
        core::append_json_body(again, name);
        return again == name ? std::string_view(name) : std::string_view{};
    }

    Result<> take_messages(core::CheckedObject& object, core::JsonMember const& member) {
        has_messages_ = true;
        return read_messages(object, member, limits_, request_);
    }

    Result<> take(std::string_view name, Slice value) {
        if (name == "model") return take_model(value.json);
        if (name.empty() || chat::is_destination_field(name)) return {};
        if (!is_null(value.json)) {
            if (name == "stream") return take_flag(Path{nullptr, name}, value.json, request_.stream);
            if (name == "stream_options") return take_stream_options(value);
            if (name == "tools") return take_tools(value);
            if (name == "tool_choice") {
                request_.tool_choice = value.json;
                return check_tool_choice(value);
            }
            if (name == "session_id") return take_session(name, value.json, request_.session_id);
            if (name == "conversation_id") return take_session(name, value.json, request_.conversation_id);
            if (name == "functions") return take_functions(value);
            if (name == "function_call") return take_function_call(value);
        } else if (name == "stream" || name == "stream_options" || name == "tools" || name == "tool_choice" ||
                   name == "session_id" || name == "conversation_id" || name == "functions" ||
                   name == "function_call") {
            return {};
        }
        return take_setting(name, value);
    }

    Result<> take_model(std::string_view json) {
        constexpr std::size_t length_max = 512;
        Path const path{nullptr, "model"};
        if (auto const checked = check_string(path, json, {1, length_max}); !checked) return checked;
        request_.model = string_text(json);
        auto const is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
        if (std::any_of(request_.model.begin(), request_.model.end(), is_control)) {
            return invalid_value(path, "a model's name has no control characters");
        }
        has_model_ = true;
        return {};
    }

    static Result<> take_flag(Path const& path, std::string_view json, bool& flag) {
        auto const read = read_boolean(path, json);
        if (!read) return read.error();
        flag = *read;
        return {};
    }

    static Result<> take_session(std::string_view name, std::string_view json, std::string& session) {
        if (auto const checked = check_string(Path{nullptr, name}, json); !checked) return checked;
        session = string_text(json);
        return {};
    }

    Result<> take_stream_options(Slice value) {
        Path const path{nullptr, "stream_options"};
        if (auto const checked = check_object(path, value.json); !checked) return checked;
        Walk walk(value);
        auto const object = walk.object();
        if (!object) return object.error();
        return Walk::members(*object, [&](std::string_view key, od::value& member) -> Result<> {
            auto const json = Walk::take(member);
            bool ignored = false;
            if (is_null(json) || (key != "include_usage" && key != "include_obfuscation")) return {};
            return take_flag(Path{&path, key}, json, key == "include_usage" ? request_.include_usage : ignored);
        });
    }

    Result<> take_tools(Slice value) {
        auto const any = check_tools(value, limits_);
        if (!any) return any.error();
        if (*any) request_.tools = value.json;
        return {};
    }

    Result<> take_functions(Slice value) {
        auto tools = tools_from_functions(value, limits_);
        if (!tools) return tools.error();
        functions_ = std::move(*tools);
        return {};
    }

    Result<> take_function_call(Slice value) {
        auto choice = tool_choice_from_function_call(value);
        if (!choice) return choice.error();
        function_call_ = std::move(*choice);
        return {};
    }

    Result<> take_setting(std::string_view name, Slice value) {
        auto const kept = check_setting(name, value, request_.made);
        if (!kept) return kept.error();
        if (!kept->empty()) request_.settings.push_back({name, *kept});
        return {};
    }

    Result<> finish() {
        if (!has_model_) return missing_parameter(Path{nullptr, "model"});
        if (!has_messages_) return missing_parameter(Path{nullptr, "messages"});
        if (!functions_.empty()) {
            if (!request_.tools.empty()) {
                return invalid_value(Path{nullptr, "functions"}, "use either tools or the deprecated functions");
            }
            request_.tools = request_.made.emplace_back(std::move(functions_));
        }
        if (!function_call_.empty() && request_.tool_choice.empty()) {
            request_.tool_choice = request_.made.emplace_back(std::move(function_call_));
        }
        request_.n = static_cast<int>(integer("n").value_or(1));
        request_.max_tokens = integer("max_completion_tokens");
        if (!request_.max_tokens) request_.max_tokens = integer("max_tokens");
        return {};
    }

    // Of a setting that has been checked and is spelled plainly.
    std::optional<std::int64_t> integer(std::string_view name) const {
        auto const json = request_.setting(name);
        std::int64_t value = 0;
        if (json.empty()) return {};
        std::from_chars(json.data(), json.data() + json.size(), value);
        return value;
    }

    ChatRequest& request_;
    RequestLimits const& limits_;
    std::string functions_, function_call_; // translated
    bool has_model_ = false;
    bool has_messages_ = false;
};

} // namespace

void ChatRequest::offer_only(std::string others) {
    tools = others.empty() ? std::string_view{} : std::string_view(made.emplace_back(std::move(others)));
    if (tools.empty()) tool_choice = {};
}

std::string_view ChatRequest::setting(std::string_view name) const noexcept {
    auto const found =
        std::find_if(settings.begin(), settings.end(), [&](auto const& each) { return each.name == name; });
    return found == settings.end() ? std::string_view{} : found->json;
}

Result<ChatRequest> parse_chat_request(std::string body, RequestLimits const& limits) {
    body.reserve(body.size() + core::kJsonPadding);
    ChatRequest request;
    request.body = std::make_unique<core::PooledText const>(std::move(body));
    if (auto const read = RequestReader(request, limits).read(); !read) return read.error();
    return request;
}

} // namespace parley::server

// The `messages` of a chat request: checked and sliced in one pass (OpenAI spec, ChatCompletionRequestMessage).
// Runs inside parse_chat_request.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json.hpp"
#include "net/address.hpp"
#include "server/chat_request_parts.hpp"
#include "server/chat_request_walk.hpp"

namespace parley::server {
namespace {

using core::Result;

constexpr std::array<std::pair<std::string_view, chat::Role>, 6> kRoles = {{
    {"system", chat::Role::kSystem},
    {"user", chat::Role::kUser},
    {"assistant", chat::Role::kAssistant},
    {"tool", chat::Role::kTool},
    {"developer", chat::Role::kDeveloper},
    {"function", chat::Role::kFunction},
}};

constexpr std::size_t kMessageBytesUsual = 128; // a guess, to make room once
constexpr std::size_t kMessagesExpectedMax = 1024;

// A closed list: an unknown kind of part could carry a URL that nobody has looked at.
constexpr std::string_view kPartTypes[] = {"text", "image_url", "input_audio", "file", "refusal", "video_url"};
constexpr std::string_view kImageDetails[] = {"auto", "low", "high"};
constexpr std::string_view kAudioFormats[] = {"wav", "mp3"};
constexpr std::string_view kCallTypes[] = {"function", "custom"};

// True for a URL whose host is an address that is not on the internet. Names are not looked up: nobody here fetches.
bool points_inside(std::string_view url) {
    auto authority = url.substr(url.find("//") + 2);
    authority = authority.substr(0, authority.find_first_of("/?#\\"));
    auto host = authority.substr(authority.rfind('@') + 1); // npos + 1 = 0: all of it
    host = host.starts_with('[') ? host.substr(1, host.find(']') - 1) : host.substr(0, host.find(':'));
    auto const kind = net::address_kind(host);
    return kind == net::AddressKind::kLoopback || kind == net::AddressKind::kPrivate || host == "localhost" ||
           host.ends_with(".localhost");
}

// The model's server would fetch the URL, or read the file, from where it stands: inside somebody's network. Only the
// start of it is looked at: it may be 20 MB of data.
Result<> check_url(Path const& path, std::string_view json) {
    if (!is_string(json)) return invalid_type(path, "a string", json);
    constexpr std::size_t looked_at = 2048; // a host behind it is refused, not guessed
    auto const body = core::strip_quotes(json);
    auto start = core::json_body_to_text(body.substr(0, looked_at));
    for (auto& c : start)
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    if (start.starts_with("data:")) return {};
    if (!start.starts_with("https://") && !start.starts_with("http://")) {
        return invalid_value(path, "expected a data: URL or an http(s) URL");
    }
    if (points_inside(start))
        return invalid_value(path, "expected a host on the internet, not an address inside a network");
    return {};
}

// `file_data` is a data: URL, or plain base64, which has no colon.
Result<> check_file_data(Path const& path, std::string_view json) {
    if (!is_string(json)) return invalid_type(path, "a string", json);
    constexpr std::size_t looked_at = 96;
    auto const start = core::json_body_to_text(core::strip_quotes(json).substr(0, looked_at));
    return start.find(':') == start.npos ? Result<>{} : check_url(path, json);
}

// An optional member: null is as good as absent.
Result<> check_optional_string(Path const& path, std::string_view json) {
    return is_null(json) ? Result<>{} : check_string(path, json);
}

// The value, wanted only once: two readers could take different ones.
Result<> put_once(Path const& path, std::string_view& slot, std::string_view json) {
    if (!slot.empty()) return duplicate_key(path);
    slot = json;
    return {};
}

class MessageReader {
public:
    MessageReader(Walk& walk, Path const& path) : walk_(walk), path_(path) {}

    Result<chat::Message> read(od::value& value) {
        auto const token = value.raw_json_token();
        od::object object;
        if (!is_object(token) || value.get_object().get(object)) return invalid_type(path_, "an object", token);
        auto const visited =
            Walk::members(object, [this](std::string_view key, od::value& member) { return take(key, member); });
        if (!visited) return visited.error();
        message_.json = walk_.slice_from(token.data());
        if (auto const checked = check_role(); !checked) return checked.error();
        if (auto const checked = check_by_role(); !checked) return checked.error();
        message_.content = content_;
        message_.role_json = role_;
        message_.plain = keys_ == 2 && is_string(content_);
        return message_;
    }

    std::vector<std::string> const& call_ids() const noexcept { return call_ids_; }
    std::string call_id() const { return string_text(tool_call_id_); }

private:
    Result<> take(std::string_view key, od::value& value) {
        ++keys_;
        Path const path{&path_, key};
        if (key == "content") {
            if (!content_.empty()) return duplicate_key(path);
            return take_content(path, value);
        }
        if (key == "tool_calls") {
            if (!tool_calls_.empty()) return duplicate_key(path);
            return take_tool_calls(path, value);
        }
        if (key == "role") return put_once(path, role_, Walk::take(value));
        if (key == "tool_call_id") return put_once(path, tool_call_id_, Walk::take(value));
        if (key == "name") return put_once(path, name_, Walk::take(value));
        if (key == "function_call") return take_function_call(path, value);
        if (key == "refusal" || key == "audio") {
            auto const json = Walk::take(value);
            speaks_otherwise_ = speaks_otherwise_ || !is_null(json);
            if (key == "refusal") return check_optional_string(path, json);
            return is_null(json) ? Result<>{} : check_object(path, json);
        }
        return {};
    }

    Result<> take_content(Path const& path, od::value& value) {
        auto const token = trim_end(value.raw_json_token());
        content_ = token;
        if (is_string(token) || is_null(token)) return {};
        od::array parts;
        if (!is_array(token) || value.get_array().get(parts)) {
            return invalid_type(path, "one of a string or array of content parts", token);
        }
        std::size_t count = 0;
        auto const visited = Walk::elements(parts, [&](std::size_t index, od::value& part) {
            ++count;
            return check_part(Path{&path, {}, index}, part);
        });
        if (!visited) return visited;
        if (count == 0) return invalid_value(path, "expected at least one content part, but got an empty array");
        content_ = walk_.slice_from(token.data());
        return {};
    }

    static Result<> check_part(Path const& path, od::value& value) {
        auto const token = value.raw_json_token();
        od::object object;
        if (!is_object(token) || value.get_object().get(object)) return invalid_type(path, "an object", token);
        std::string type;
        std::vector<std::string> present;
        auto const visited = Walk::members(object, [&](std::string_view key, od::value& member) -> Result<> {
            Path const inner{&path, key};
            if (key == "type") {
                auto const json = Walk::take(member);
                if (!type.empty()) return duplicate_key(inner);
                if (auto const checked = check_choice(inner, json, kPartTypes); !checked) return checked;
                type = string_text(json);
                return {};
            }
            if (std::find(std::begin(kPartTypes), std::end(kPartTypes), key) == std::end(kPartTypes)) return {};
            if (std::find(present.begin(), present.end(), key) != present.end()) return duplicate_key(inner);
            present.emplace_back(key);
            return check_payload(inner, member);
        });
        if (!visited) return visited;
        if (type.empty()) return missing_parameter(Path{&path, "type"});
        // A part's payload has the name of its type.
        if (std::find(present.begin(), present.end(), type) == present.end()) {
            return missing_parameter(Path{&path, type});
        }
        return {};
    }

    static Result<> check_payload(Path const& path, od::value& value) {
        auto const token = trim_end(value.raw_json_token());
        if (path.name == "text" || path.name == "refusal") return check_string(path, token);
        od::object object;
        if (!is_object(token) || value.get_object().get(object)) return invalid_type(path, "an object", token);
        bool const linked = path.name == "image_url" || path.name == "video_url";
        bool const heard = path.name == "input_audio";
        std::string_view source;
        std::string_view format;
        auto const visited = Walk::members(object, [&](std::string_view key, od::value& member) -> Result<> {
            Path const inner{&path, key};
            auto const json = Walk::take(member);
            if (linked && key == "url") {
                if (auto const put = put_once(inner, source, json); !put) return put;
                return check_url(inner, json);
            }
            if (linked && key == "detail") return is_null(json) ? Result<>{} : check_choice(inner, json, kImageDetails);
            if (heard && key == "data") {
                if (auto const put = put_once(inner, source, json); !put) return put;
                return check_string(inner, json);
            }
            if (heard && key == "format") {
                if (auto const put = put_once(inner, format, json); !put) return put;
                return check_choice(inner, json, kAudioFormats);
            }
            if (linked || heard || is_null(json)) return {};
            if (key == "file_data") {
                if (auto const put = put_once(inner, source, json); !put) return put;
                return check_file_data(inner, json);
            }
            if (key == "file_url") return check_url(inner, json);
            return key == "file_id" || key == "filename" ? check_string(inner, json) : Result<>{};
        });
        if (!visited) return visited;
        if (linked && source.empty()) return missing_parameter(Path{&path, "url"});
        if (heard && source.empty()) return missing_parameter(Path{&path, "data"});
        if (heard && format.empty()) return missing_parameter(Path{&path, "format"});
        return {};
    }

    Result<> take_tool_calls(Path const& path, od::value& value) {
        tool_calls_ = trim_end(value.raw_json_token());
        if (is_null(tool_calls_)) return {};
        od::array calls;
        if (!is_array(tool_calls_) || value.get_array().get(calls)) return invalid_type(path, "an array", tool_calls_);
        return Walk::elements(
            calls, [&](std::size_t index, od::value& call) { return take_tool_call(Path{&path, {}, index}, call); });
    }

    Result<> take_tool_call(Path const& path, od::value& value) {
        auto const token = value.raw_json_token();
        od::object object;
        if (!is_object(token) || value.get_object().get(object)) return invalid_type(path, "an object", token);
        std::string_view id;
        std::string_view type;
        std::string_view function;
        std::string_view custom;
        auto const visited = Walk::members(object, [&](std::string_view key, od::value& member) -> Result<> {
            Path const inner{&path, key};
            if (key == "id") return put_once(inner, id, Walk::take(member));
            if (key == "type") return put_once(inner, type, Walk::take(member));
            if (key != "function" && key != "custom") return {};
            bool const is_custom = key == "custom";
            auto const start = trim_end(member.raw_json_token());
            if (auto const put = put_once(inner, is_custom ? custom : function, start); !put) return put;
            return check_call(inner, member, is_custom ? "input" : "arguments");
        });
        if (!visited) return visited;
        if (id.empty()) return missing_parameter(Path{&path, "id"});
        if (auto const checked = check_string(Path{&path, "id"}, id, {.min = 1}); !checked) return checked;
        if (type.empty()) return missing_parameter(Path{&path, "type"});
        if (auto const checked = check_choice(Path{&path, "type"}, type, kCallTypes); !checked) return checked;
        bool const is_custom = string_text(type) == "custom";
        if ((is_custom ? custom : function).empty()) {
            return missing_parameter(Path{&path, is_custom ? "custom" : "function"});
        }
        call_ids_.push_back(string_text(id));
        return {};
    }

    // `function` of a tool call, or the deprecated function_call: a name and the arguments as text.
    static Result<> check_call(Path const& path, od::value& value, std::string_view input) {
        auto const token = trim_end(value.raw_json_token());
        od::object object;
        if (!is_object(token) || value.get_object().get(object)) return invalid_type(path, "an object", token);
        std::string_view name;
        std::string_view text;
        auto const visited = Walk::members(object, [&](std::string_view key, od::value& member) -> Result<> {
            if (key == "name") return put_once(Path{&path, key}, name, Walk::take(member));
            if (key == input) return put_once(Path{&path, key}, text, Walk::take(member));
            return {};
        });
        if (!visited) return visited;
        if (name.empty()) return missing_parameter(Path{&path, "name"});
        if (auto const checked = check_string(Path{&path, "name"}, name, {.min = 1}); !checked) return checked;
        if (text.empty()) return missing_parameter(Path{&path, input});
        return check_string(Path{&path, input}, text);
    }

    Result<> take_function_call(Path const& path, od::value& value) {
        auto const token = trim_end(value.raw_json_token());
        if (is_null(token)) return {};
        speaks_otherwise_ = true;
        return check_call(path, value, "arguments");
    }

    Result<> check_role() {
        Path const path{&path_, "role"};
        if (role_.empty()) return missing_parameter(path);
        if (!is_string(role_)) return invalid_type(path, "a string", role_);
        auto const role = string_text(role_);
        for (auto const& [name, known] : kRoles) {
            if (name != role) continue;
            message_.role = known;
            return {};
        }
        std::vector<std::string_view> names;
        for (auto const& [name, known] : kRoles)
            names.push_back(name);
        return invalid_choice(path, role, names);
    }

    Result<> check_by_role() const {
        Path const content{&path_, "content"};
        Path const name{&path_, "name"};
        Path const id{&path_, "tool_call_id"};
        bool const has_name = !name_.empty() && !is_null(name_);
        if (has_name) {
            if (auto const checked = check_string(name, name_); !checked) return checked;
        }
        bool const may_be_silent =
            (message_.role == chat::Role::kAssistant && (speaks_otherwise_ || !call_ids_.empty())) ||
            (message_.role == chat::Role::kFunction && is_null(content_));
        if (!may_be_silent) {
            if (content_.empty()) return missing_parameter(content);
            if (is_null(content_)) return invalid_type(content, "one of a string or array of content parts", content_);
        }
        if (message_.role == chat::Role::kFunction && !has_name) return missing_parameter(name);
        bool const has_id = !tool_call_id_.empty() && !is_null(tool_call_id_);
        if (message_.role == chat::Role::kTool && !has_id) return missing_parameter(id);
        return has_id ? check_string(id, tool_call_id_, {.min = 1}) : Result<>{};
    }

    Walk& walk_;
    Path const& path_;
    chat::Message message_;
    std::string_view role_, content_, name_, tool_call_id_, tool_calls_; // as seen, empty = absent
    std::size_t keys_ = 0;
    bool speaks_otherwise_ = false; // a refusal, audio or function_call in place of content
    std::vector<std::string> call_ids_;
};

// Which calls wait for their result. An id may come again in a later round (some models number from 0 each time).
// A tree, not a hash table: ids are chosen by the sender.
class CallLedger {
public:
    explicit CallLedger(std::optional<core::Error>& stray) : stray_(stray) {}

    Result<> record(Path const& path, MessageReader const& message, chat::Role role) {
        auto const& ids = message.call_ids();
        if (role == chat::Role::kAssistant) {
            for (auto const& id : ids)
                answered_[id] = true;
            for (std::size_t i = 0; i < ids.size(); ++i) {
                if (std::exchange(answered_[ids[i]], false)) continue;
                Path const calls{&path, "tool_calls"};
                Path const call{&calls, {}, i};
                return invalid_value(Path{&call, "id"}, "two tool calls of one message have the same id");
            }
        }
        if (role != chat::Role::kTool) return {};
        Path const id{&path, "tool_call_id"};
        auto const found = answered_.find(message.call_id());
        if (found == answered_.end()) { // if the conversation is kept here, its call may be there
            if (!stray_) stray_ = invalid_value(id, "no assistant message before it has a tool call with this id");
            return {};
        }
        if (std::exchange(found->second, true)) return invalid_value(id, "this tool call has been answered before");
        return {};
    }

private:
    std::optional<core::Error>& stray_;
    std::map<std::string, bool> answered_;
};

} // namespace

Result<> read_messages(core::CheckedObject& request, core::JsonMember const& messages, RequestLimits const& limits,
                       ChatRequest& out) {
    Path const root{nullptr, "messages"};
    if (!is_array(messages.json)) return invalid_type(root, "an array of objects", messages.json);
    Walk walk(request, messages);
    auto const array = walk.array();
    if (!array) return array.error();
    CallLedger ledger(out.stray_result);
    char const* end_of_last = nullptr;
    out.messages.reserve(std::min(messages.json.size() / kMessageBytesUsual + 1, kMessagesExpectedMax));
    auto const visited = Walk::elements(*array, [&](std::size_t index, od::value& value) -> Result<> {
        if (index == limits.messages_max) {
            return invalid_value(root, fmt::format("expected at most {} messages", limits.messages_max));
        }
        Path const path{&root, {}, index};
        MessageReader reader(walk, path);
        auto message = reader.read(value);
        if (!message) return message.error();
        message->follows = std::exchange(end_of_last, message->json.data() + message->json.size());
        out.messages.push_back(*message);
        return ledger.record(path, reader, message->role);
    });
    if (!visited) return visited;
    if (out.messages.empty()) return invalid_value(root, "expected at least one message, but got an empty array");
    return {};
}

} // namespace parley::server

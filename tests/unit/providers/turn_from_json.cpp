// Reads a chat request into chat::Turn, for tests of dialects: the real reader lives two floors up (server/).
// Owns the bytes that the Turn points into. Test side only; throws on a bad fixture.
#include "tests/unit/providers/turn_from_json.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <array>
#include <stdexcept>
#include <utility>

namespace parley::tests {

namespace {

namespace json = boost::json;

chat::Role role_from_name(std::string_view name) {
    using enum chat::Role;
    constexpr std::array<std::pair<std::string_view, chat::Role>, 6> kRoles{{{"system", kSystem},
                                                                             {"developer", kDeveloper},
                                                                             {"user", kUser},
                                                                             {"assistant", kAssistant},
                                                                             {"tool", kTool},
                                                                             {"function", kFunction}}};
    for (auto const& [known, role] : kRoles) {
        if (known == name) return role;
    }
    throw std::runtime_error("fixture: unknown role " + std::string(name));
}

} // namespace

TurnFromJson::TurnFromJson(json::object const& request) {
    for (auto const& member : request) {
        std::string_view const name(member.key().data(), member.key().size());
        if (name == "model" || name == "stream_options") continue;
        if (name == "messages") {
            for (auto const& message : member.value().as_array())
                add_message(message.as_object());
        } else if (name == "stream") {
            turn_.stream = member.value().as_bool();
        } else if (name == "tools") {
            turn_.tools = keep(json::serialize(member.value()));
        } else if (name == "tool_choice") {
            turn_.tool_choice = keep(json::serialize(member.value()));
        } else {
            std::string_view const kept_name = keep(std::string(name));
            settings_.push_back({kept_name, keep(json::serialize(member.value()))});
        }
    }
    turn_.messages = messages_;
    turn_.settings = settings_;
}

std::string_view TurnFromJson::keep(std::string text) {
    storage_.push_back(std::make_unique<std::string>(std::move(text)));
    return *storage_.back();
}

void TurnFromJson::add_message(json::object const& message) {
    std::string text = "{";
    std::pair<std::size_t, std::size_t> role_at{0, 0};
    std::pair<std::size_t, std::size_t> content_at{0, 0};
    for (auto const& member : message) {
        if (text.size() > 1) text += ',';
        text += json::serialize(member.key()) + ":";
        std::pair<std::size_t, std::size_t> at{text.size(), 0};
        text += json::serialize(member.value());
        at.second = text.size() - at.first;
        if (member.key() == "role") role_at = at;
        if (member.key() == "content") content_at = at;
    }
    text += '}';

    chat::Message read;
    json::string const& role = message.at("role").as_string();
    read.role = role_from_name({role.data(), role.size()});
    read.json = keep(std::move(text));
    read.role_json = read.json.substr(role_at.first, role_at.second);
    read.content = read.json.substr(content_at.first, content_at.second);
    read.plain = message.size() == 2 && message.contains("content") && message.at("content").is_string();
    messages_.push_back(read);
}

providers::ModelSpec spec_from_json(json::object const& agent) {
    providers::ModelSpec spec;
    for (auto const& member : agent) {
        std::string_view const name(member.key().data(), member.key().size());
        json::value const& value = member.value();
        if (name == "model") {
            spec.model = value.as_string().c_str();
        } else if (name == "system_prompt") {
            spec.system_prompt = value.as_string().c_str();
        } else if (name == "settings") {
            spec.settings = value.as_object();
        } else if (name == "tools") {
            spec.tools = json::serialize(value);
        } else {
            throw std::runtime_error("fixture: unknown member agent." + std::string(name));
        }
    }
    return spec;
}

} // namespace parley::tests

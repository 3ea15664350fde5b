// Fuzzes what reads a client's history: hidden blocks in answers, and the path that messages tell. The input is one
// answer's text and, read as JSON, a list of messages. libFuzzer entry; single-threaded.
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "memory/turn_path.hpp"
#include "memory/visible_text.hpp"

namespace {

namespace json = boost::json;
using parley::chat::Message;
using parley::chat::Role;

void check_text(std::string_view text) {
    auto const visible = parley::memory::without_hidden_blocks(text);
    if (visible.size() > text.size()) std::abort();
    if (text.find('<') == std::string_view::npos && visible != text) std::abort();
    if (parley::memory::answer_fingerprint(text).size() > text.size()) std::abort();
}

Role role_of(json::value const& message) {
    auto const* const object = message.if_object();
    auto const* const role = object != nullptr ? object->if_contains("role") : nullptr;
    if (role == nullptr || !role->is_string()) return Role::kUser;
    auto const& name = role->get_string();
    if (name == "assistant") return Role::kAssistant;
    if (name == "tool") return Role::kTool;
    return name == "system" ? Role::kSystem : Role::kUser;
}

void check_path(json::array const& list) {
    std::vector<std::string> texts;
    std::vector<std::string> contents;
    for (auto const& one : list) {
        texts.push_back(json::serialize(one));
        auto const* const object = one.if_object();
        auto const* const content = object != nullptr ? object->if_contains("content") : nullptr;
        contents.push_back(content != nullptr ? json::serialize(*content) : "");
    }
    std::vector<Message> messages;
    for (std::size_t i = 0; i < list.size(); ++i)
        messages.push_back({role_of(list[i]), texts[i], contents[i]});
    std::vector<std::string> const tools{"weather"};
    auto const turns = parley::memory::turns_of(messages, tools);
    if (turns.size() > messages.size()) std::abort();
    auto parent = parley::memory::kRoot;
    std::size_t at = 0;
    for (auto const& turn : turns) { // a chain of spans that do not overlap
        if (turn.parent != parent || turn.first < at || turn.last <= turn.first || turn.last > messages.size())
            std::abort();
        parent = turn.id;
        at = turn.last;
    }
    auto const again = parley::memory::turns_of(messages, tools);
    if (!turns.empty() && again.back().id != turns.back().id) std::abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    std::string_view const text(reinterpret_cast<char const*>(data), size);
    check_text(text);
    boost::system::error_code error;
    auto const value = json::parse({text.data(), text.size()}, error);
    if (!error && value.is_array()) check_path(value.get_array());
    return 0;
}

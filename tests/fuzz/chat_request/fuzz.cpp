// Fuzzes the chat request reader: whatever it accepts, its slices are valid JSON from which a provider's request can
// be put together; whatever it refuses, the answer can be printed. libFuzzer entry; single-threaded.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "core/json.hpp"
#include "server/api_error.hpp"
#include "server/chat_request.hpp"

namespace {

using namespace parley;

constexpr std::size_t kDepth = 70;

void require(bool condition) {
    if (!condition) std::abort();
}

// Inside an array, because equal keys are refused on the top level only.
bool is_json(std::string_view text, char first) {
    return !text.empty() && text.front() == first &&
           core::check_json("[" + std::string(text) + "]", kDepth).has_value();
}

void check_turn(chat::Turn const& turn) {
    std::string request = R"({"messages":[)";
    for (auto const& message : turn.messages) {
        require(is_json(message.json, '{'));
        require(is_json(message.role_json, '"'));
        require(message.content.empty() || message.content == "null" || is_json(message.content, '"') ||
                is_json(message.content, '['));
        require(!message.plain || is_json(message.content, '"'));
        auto const inside = [&](std::string_view part) {
            return part.data() >= message.json.data() &&
                   part.data() + part.size() <= message.json.data() + message.json.size();
        };
        require(inside(message.role_json) && (message.content.empty() || inside(message.content)));
        if (request.back() == '}') request += ',';
        request += message.json;
    }
    request += ']';
    for (auto const& [name, json] : turn.settings) {
        require(!name.empty());
        request.append(",\"").append(name).append("\":").append(json);
    }
    if (!turn.tools.empty()) {
        require(is_json(turn.tools, '['));
        request.append(",\"tools\":").append(turn.tools);
    }
    if (!turn.tool_choice.empty()) request.append(",\"tool_choice\":").append(turn.tool_choice);
    require(is_json(request + "}", '{'));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    server::RequestLimits limits;
    limits.messages_max = 50;
    auto parsed = server::parse_chat_request(std::string(reinterpret_cast<char const*>(data), size), limits);
    if (!parsed) {
        auto const answer = server::to_api_error(parsed.error());
        require(answer.status == 400);
        require(is_json(answer.body, '{'));
        require(core::is_valid_utf8(parsed.error().message));
        return 0;
    }
    auto const request = std::move(*parsed);
    require(!request.model.empty() && core::is_valid_utf8(request.model));
    require(!request.messages.empty() && request.messages.size() <= limits.messages_max);
    require(request.n >= 1 && request.n <= 128);
    check_turn(request.turn());
    return 0;
}

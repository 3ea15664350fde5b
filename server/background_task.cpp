#include "server/background_task.hpp"

#include <string_view>

namespace parley::server {

bool is_background_task(net::RequestHead const& head, ChatRequest const& request) noexcept {
    constexpr std::string_view header = "x-openwebui-task";
    if (head.count(header) != 0) return !head.get(header).empty(); // empty = a turn
    if (request.stream || request.messages.size() != 1 || !request.tools.empty()) return false;
    auto const content = request.messages.front().content; // JSON; Open WebUI escapes neither
    return content.starts_with(R"("### Task:)") && content.find("<chat_history>") != std::string_view::npos;
}

} // namespace parley::server

#include "server/background_task.hpp"

#include <array>
#include <string_view>
#include <utility>

namespace parley::server {
namespace {

using Named = std::pair<std::string_view, BackgroundTask>;

constexpr std::array<Named, 8> kByHeader{{{"title_generation", BackgroundTask::kTitle},
                                          {"tags_generation", BackgroundTask::kTags},
                                          {"follow_up_generation", BackgroundTask::kFollowUps},
                                          {"query_generation", BackgroundTask::kQueries},
                                          {"image_prompt_generation", BackgroundTask::kImagePrompt},
                                          {"autocomplete_generation", BackgroundTask::kAutocomplete},
                                          {"emoji_generation", BackgroundTask::kEmoji},
                                          {"function_calling", BackgroundTask::kToolChoice}}};

// The key of the JSON that each prompt asks for, as it stands in the request: within a JSON string.
constexpr std::array<Named, 6> kByKey{{{R"(\"follow_ups\")", BackgroundTask::kFollowUps},
                                       {R"(\"queries\")", BackgroundTask::kQueries},
                                       {R"(\"tags\")", BackgroundTask::kTags},
                                       {R"(\"title\")", BackgroundTask::kTitle},
                                       {R"(\"prompt\")", BackgroundTask::kImagePrompt},
                                       {R"(\"text\")", BackgroundTask::kAutocomplete}}};

} // namespace

BackgroundTask background_task(net::RequestHead const& head, ChatRequest const& request) {
    constexpr std::string_view header = "x-openwebui-task";
    if (head.count(header) != 0) {
        auto const name = head.get(header);
        if (name.empty()) return BackgroundTask::kNone; // a turn
        for (auto const& [known, task] : kByHeader)
            if (name == known) return task;
        return BackgroundTask::kOther;
    }
    if (request.stream || request.messages.size() != 1 || !request.tools.empty()) return BackgroundTask::kNone;
    auto const content = request.messages.front().content; // JSON; Open WebUI escapes neither
    auto const history = content.find("<chat_history>");
    if (!content.starts_with(R"("### Task:)") || history == std::string_view::npos) return BackgroundTask::kNone;
    auto const instructions = content.substr(0, history);
    for (auto const& [key, task] : kByKey)
        if (instructions.find(key) != std::string_view::npos) return task;
    return BackgroundTask::kOther;
}

std::string_view task_name(BackgroundTask task) noexcept {
    if (task == BackgroundTask::kNone) return {};
    for (auto const& [name, known] : kByHeader)
        if (known == task) return name;
    return "other";
}

} // namespace parley::server

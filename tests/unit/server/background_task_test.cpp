// Which requests of Open WebUI are its own and not its user's, and what they ask for (seen live: 0.12.4).
#include "server/background_task.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace parley::server {
namespace {

BackgroundTask task_of(std::string body, std::vector<net::Field> fields = {}) {
    net::RequestHead head;
    head.fields = std::move(fields);
    auto const request = parse_chat_request(std::move(body));
    EXPECT_TRUE(request);
    return request ? background_task(head, *request) : BackgroundTask::kNone;
}

bool is_task(std::string body, std::vector<net::Field> fields = {}) {
    return task_of(std::move(body), std::move(fields)) != BackgroundTask::kNone;
}

std::string asking(std::string const& text, std::string const& more = "") {
    return R"({"model":"m","messages":[{"role":"user","content":")" + text + "\"}]" + more + "}";
}

TEST(BackgroundTask, TheHeaderDecides) {
    EXPECT_EQ(task_of(asking("hello"), {{"X-OpenWebUI-Task", "title_generation"}}), BackgroundTask::kTitle);
    EXPECT_EQ(task_of(asking("hello", R"(,"stream":true)"), {{"x-openwebui-task", "tags_generation"}}),
              BackgroundTask::kTags);
    EXPECT_EQ(task_of(asking("hello"), {{"x-openwebui-task", "moa_response_generation"}}), BackgroundTask::kOther);
    EXPECT_FALSE(is_task(asking("### Task:\\n<chat_history>"), {{"x-openwebui-task", ""}})) << "a turn, by template";
}

TEST(BackgroundTask, ElseTheWholeShapeDoes) {
    auto const* const task = "### Task:\\nGenerate a title.\\n<chat_history>\\nUSER: hi\\n</chat_history>";
    EXPECT_TRUE(is_task(asking(task)));
    EXPECT_FALSE(is_task(asking(task, R"(,"stream":true)")));
    EXPECT_FALSE(is_task(asking(task, R"(,"tools":[{"type":"function","function":{"name":"f"}}])")));
    EXPECT_FALSE(is_task(asking("### Task:\\nRespond to the user query using the provided context\\n<context>")))
        << "a turn with a file";
    EXPECT_FALSE(is_task(asking("What is <chat_history>? ### Task:")));
    EXPECT_FALSE(is_task(R"({"model":"m","messages":[{"role":"system","content":"x"},{"role":"user","content":")" +
                         std::string(task) + "\"}]}"));
}

TEST(BackgroundTask, TheJsonThatIsAskedForTellsWhichOne) {
    for (auto const& [key, task] : {std::pair{"title", BackgroundTask::kTitle},
                                    {"tags", BackgroundTask::kTags},
                                    {"follow_ups", BackgroundTask::kFollowUps},
                                    {"queries", BackgroundTask::kQueries},
                                    {"prompt", BackgroundTask::kImagePrompt},
                                    {"text", BackgroundTask::kAutocomplete},
                                    {"mood", BackgroundTask::kOther}}) {
        auto const form = R"(### Task:\nDo it.\n### Output:\nJSON format: { \")" + std::string(key) +
                          R"(\": \"…\" }\n<chat_history>\nUSER: my \"tags\" and \"title\"\n</chat_history>)";
        EXPECT_EQ(task_of(asking(form)), task) << key;
    }
}

} // namespace
} // namespace parley::server

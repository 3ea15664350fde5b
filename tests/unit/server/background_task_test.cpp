// Which requests of Open WebUI are its own and not its user's (seen live: 0.12.4).
#include "server/background_task.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace parley::server {
namespace {

bool is_task(std::string body, std::vector<net::Field> fields = {}) {
    net::RequestHead head;
    head.fields = std::move(fields);
    auto const request = parse_chat_request(std::move(body));
    EXPECT_TRUE(request);
    return request && is_background_task(head, *request);
}

std::string asking(std::string const& text, std::string const& more = "") {
    return R"({"model":"m","messages":[{"role":"user","content":")" + text + "\"}]" + more + "}";
}

TEST(BackgroundTask, TheHeaderDecides) {
    EXPECT_TRUE(is_task(asking("hello"), {{"X-OpenWebUI-Task", "title_generation"}}));
    EXPECT_TRUE(is_task(asking("hello", R"(,"stream":true)"), {{"x-openwebui-task", "tags_generation"}}));
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

} // namespace
} // namespace parley::server

// What is said of a chat without a model: in the form that Open WebUI reads, in the chat's language.
#include "server/task_answer.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "core/json.hpp"
#include "server/task_language.hpp"
#include "server/utf8_text.hpp"

namespace parley::server {
namespace {

// As Open WebUI 0.12.4 puts a chat into its prompts.
std::string quoting(std::string_view chat) {
    return "### Task:\nGenerate something.\n### Chat History:\n<chat_history>\n" + std::string(chat) +
           "\n</chat_history>";
}

std::string title(std::string_view chat) {
    auto const answer = heuristic_task_answer(BackgroundTask::kTitle, quoting(chat)).value();
    EXPECT_TRUE(core::check_json(answer, 4)) << answer;
    auto const body = std::string_view(answer).substr(10, answer.size() - 12);
    EXPECT_EQ(R"({"title":")" + std::string(body) + "\"}", answer);
    return core::json_body_to_text(body);
}

TEST(TaskAnswer, ATitleIsTheBeginningOfTheFirstQuestion) {
    EXPECT_EQ(title("USER: how do tides work?\nASSISTANT: The moon …"), "How do tides work");
    EXPECT_EQ(title("USER: Write a function that sorts a list of names in Python"), "Write a function that sorts");
    EXPECT_EQ(title("USER: What is the capital of the country next to it"), "What is the capital") << "not 'of the'";
    EXPECT_EQ(title("USER: Hello! I have a question."), "Hello");
    EXPECT_EQ(title("USER: \n\n## **Release notes**\nfor 0.12\nASSISTANT: ok"), "Release notes");
    EXPECT_EQ(title("USER: ```\ncode\n```"), "Code");
    EXPECT_EQ(title("USER: say \"x\" \\ y"), "Say \"x\" \\ y");
    EXPECT_EQ(title("USER: Wie funktionieren Gezeiten?"), "Wie funktionieren Gezeiten");
    EXPECT_EQ(title("USER: 潮汐是如何形成的？请解释一下。"), "潮汐是如何形成的");
    EXPECT_EQ(title("USER: " + std::string(100, 'x')), "X" + std::string(38, 'x'));
    EXPECT_EQ(title("USER: /call lab__trigger-long-running-operation {}"), "/call lab__trigger-long-running-operatio");
    EXPECT_EQ(title("USER: tell me about antidisestablishmentarianism"), "Tell me about antidisestablishmentariani");
    EXPECT_EQ(title("USER: some words that are many antidisestablishmentarianism"), "Some words that are many");
    EXPECT_EQ(title("ASSISTANT: I begin"), "");
    EXPECT_EQ(title(""), "");
}

TEST(TaskAnswer, TagsAreTheWordsThatComeBack) {
    auto const tags = [](std::string_view chat) {
        return heuristic_task_answer(BackgroundTask::kTags, quoting(chat)).value();
    };
    EXPECT_EQ(tags("USER: about sqlite\nASSISTANT: yes"), R"({"tags":["General"]})") << "too short to tell";
    EXPECT_EQ(tags("USER: What is the best of all\nASSISTANT: a\nUSER: why"), R"({"tags":["General"]})");
    EXPECT_EQ(tags("USER: Is SQLite faster than Postgres?\nASSISTANT: a\nUSER: And sqlite on disk, or postgres in "
                   "memory?\nASSISTANT: b\nUSER: sqlite then"),
              R"({"tags":["Sqlite","Postgres"]})");
    EXPECT_EQ(tags("USER: Wie ist das Wetter\nASSISTANT: a\nUSER: und warum"), R"({"tags":["Allgemein"]})");
}

TEST(TaskAnswer, FollowUpsAreInTheLanguageOfTheChat) {
    auto const first = [](std::string_view chat) {
        auto const answer = heuristic_task_answer(BackgroundTask::kFollowUps, quoting(chat)).value();
        EXPECT_TRUE(core::check_json(answer, 4)) << answer;
        return answer.substr(16, answer.find("\",\"") - 16);
    };
    EXPECT_EQ(first("USER: how do tides work?"), "Can you give me an example?");
    EXPECT_EQ(first("USER: Kannst du mir erklären, wie das geht?\nASSISTANT: The moon does it, and the sun"),
              "Kannst du mir ein Beispiel geben?");
    EXPECT_EQ(first("USER: こんにちは、潮汐について教えてください"), "例を挙げてもらえますか？");
    EXPECT_EQ(first(""), "Can you give me an example?");
}

TEST(TaskAnswer, AQueryIsTheLastQuestion) {
    auto const queries = [](std::string_view chat) {
        return heuristic_task_answer(BackgroundTask::kQueries, quoting(chat)).value();
    };
    EXPECT_EQ(queries("USER: one\nASSISTANT: a\nUSER: tides \"today\"\nin Bremen"),
              R"({"queries":["tides \"today\"\nin Bremen"]})");
    EXPECT_EQ(queries(""), R"({"queries":[]})");
}

TEST(TaskAnswer, TheRestIsInItsForm) {
    auto const prompt = quoting("USER: a red house\nASSISTANT: ok");
    EXPECT_EQ(heuristic_task_answer(BackgroundTask::kImagePrompt, prompt), R"({"prompt":"a red house"})");
    EXPECT_EQ(heuristic_task_answer(BackgroundTask::kAutocomplete, prompt), R"({"text":""})");
    EXPECT_EQ(heuristic_task_answer(BackgroundTask::kToolChoice, prompt), R"({"tool_calls":[]})");
    EXPECT_EQ(heuristic_task_answer(BackgroundTask::kEmoji, prompt), "🙂");
    EXPECT_EQ(heuristic_task_answer(BackgroundTask::kOther, prompt), std::nullopt);
    EXPECT_EQ(empty_task_answer(BackgroundTask::kTitle), R"({"title":""})");
    EXPECT_EQ(empty_task_answer(BackgroundTask::kOther), std::nullopt);
}

TEST(TaskAnswer, AnythingMayBeQuoted) {
    for (std::string_view const chat : {"USER: ", "USER:", "\n\n", "USER: \xEF\xBF\xBD\xF0\x9F\x98\x80",
                                        "USER: a\nUSER: b\nUSER: ", "</chat_history>", "USER: <chat_history>"}) {
        for (auto task = BackgroundTask::kTitle; task <= BackgroundTask::kEmoji;
             task = static_cast<BackgroundTask>(static_cast<int>(task) + 1)) {
            auto const answer = heuristic_task_answer(task, quoting(chat)).value();
            EXPECT_TRUE(task == BackgroundTask::kEmoji || core::check_json(answer, 4)) << answer;
        }
    }
}

TEST(TaskLanguage, IsToldByScriptAndByCommonWords) {
    struct Case {
        std::string_view text, code;
    };
    for (auto const& [text, code] : {Case{"What is the weather in Paris today?", "en"},
                                     {"Wie ist das Wetter heute in Bremen?", "de"},
                                     {"Quel temps fait-il dans la ville ?", "fr"},
                                     {"¿Cómo puedo aprender el idioma con los libros?", "es"},
                                     {"Come si dice questo in inglese, per favore?", "it"},
                                     {"Você pode me dizer como chegar na estação?", "pt"},
                                     {"Kun je mij vertellen wat het weer is?", "nl"},
                                     {"Jak się masz i co to jest?", "pl"},
                                     {"Bu nasıl bir şey ve neden böyle?", "tr"},
                                     {"Расскажи, почему небо голубое", "ru"},
                                     {"Чому небо синє і що це таке?", "uk"},
                                     {"ما هو الطقس اليوم في القاهرة؟", "ar"},
                                     {"मुझे मौसम के बारे में बताओ", "hi"},
                                     {"今天的天气怎么样？", "zh"},
                                     {"今日の天気はどうですか", "ja"},
                                     {"오늘 날씨가 어때요?", "ko"},
                                     {"用 Python 写一个排序函数", "zh"},
                                     {"", "en"},
                                     {"42", "en"},
                                     {"SELECT 1", "en"}})
        EXPECT_EQ(language_of(text).code, code) << text;
}

TEST(Utf8Text, MakesLettersSmall) {
    EXPECT_EQ(lower_case("ABC xyz ÄÖÜ ß × ПРИВЕТ Ё 漢字 😀"), "abc xyz äöü ß × привет ё 漢字 😀");
    EXPECT_EQ(lower_case("\xFF\xC3"), "\xFF\xC3") << "what is no UTF-8 stays";
}

} // namespace
} // namespace parley::server

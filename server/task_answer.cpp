#include "server/task_answer.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "core/json.hpp"
#include "server/task_language.hpp"
#include "server/utf8_text.hpp"

namespace parley::server {
namespace {

constexpr std::size_t kTitleWordsMax = 5;
constexpr std::size_t kTitleCodePointsMax = 40;
constexpr std::size_t kQueryCodePointsMax = 300;
constexpr std::size_t kTagsMax = 3;
constexpr std::size_t kTagWordsMax = 256;    // different ones that are looked at
constexpr std::size_t kTagCodePointsMin = 5; // shorter words are seldom a subject
constexpr std::size_t kTagCodePointsMax = 24;
constexpr std::size_t kTagMessagesMin = 3; // Open WebUI's own rule for its prompt
constexpr std::size_t kReadBytesMax = 64 * 1024;

struct QuotedChat {
    std::vector<std::string_view> asked; // the user's messages, oldest first
    std::size_t messages = 0;
};

constexpr std::string_view kSpace = " \t\r\n";

std::string_view trimmed(std::string_view text) noexcept {
    auto const begin = text.find_first_not_of(kSpace);
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

// Open WebUI quotes a chat as `USER: …` and `ASSISTANT: …`, each on a line of its own, between two tags.
QuotedChat read_chat(std::string_view prompt) {
    constexpr std::string_view open = "<chat_history>", close = "</chat_history>";
    auto const begin = prompt.find(open);
    if (begin == std::string_view::npos) return {};
    prompt.remove_prefix(begin + open.size());
    prompt = trimmed(prompt.substr(0, prompt.rfind(close)));
    constexpr std::array<std::pair<std::string_view, bool>, 4> marks{
        {{"USER: ", true}, {"ASSISTANT: ", false}, {"SYSTEM: ", false}, {"TOOL: ", false}}};
    auto const mark_at = [&](std::string_view text) {
        return std::ranges::find_if(marks, [&](auto const& mark) { return text.starts_with(mark.first); });
    };
    QuotedChat chat;
    while (!prompt.empty()) {
        auto const mark = mark_at(prompt);
        if (mark != marks.end()) prompt.remove_prefix(mark->first.size());
        std::size_t end = prompt.find('\n');
        while (end != std::string_view::npos && mark_at(prompt.substr(end + 1)) == marks.end())
            end = prompt.find('\n', end + 1);
        auto const text = trimmed(prompt.substr(0, end));
        if (mark != marks.end()) {
            ++chat.messages;
            if (mark->second && !text.empty()) chat.asked.push_back(text);
        }
        if (end == std::string_view::npos) break;
        prompt.remove_prefix(end + 1);
    }
    return chat;
}

TaskLanguage const& language_of_chat(QuotedChat const& chat) {
    std::string all;
    for (auto const text : chat.asked)
        if (all.size() < kReadBytesMax) all.append(text.substr(0, kReadBytesMax / 8)).append("\n");
    return language_of(all);
}

// The first line that says something, without the marks of Markdown at its start.
std::string_view first_line(std::string_view text) noexcept {
    while (!text.empty()) {
        auto const end = text.find('\n');
        auto line = trimmed(text.substr(0, end));
        auto const begin = line.find_first_not_of("#>*-`_ \t");
        if (begin != std::string_view::npos && !line.starts_with("```")) return line.substr(begin);
        if (end == std::string_view::npos) break;
        text.remove_prefix(end + 1);
    }
    return {};
}

std::string_view cut(std::string_view text, std::size_t code_points_max) noexcept {
    auto rest = text;
    for (std::size_t i = 0; i < code_points_max && !rest.empty(); ++i)
        take_code_point(rest);
    return text.substr(0, text.size() - rest.size());
}

// Behind the first sentence: `.`, `?` or `!` before a space or at the end, or a full stop of Chinese and Japanese.
std::size_t sentence_end(std::string_view text) noexcept {
    for (std::size_t i = 0; i < text.size(); ++i) {
        auto const rest = text.substr(i);
        for (std::string_view const wide : {"。", "？", "！"})
            if (rest.starts_with(wide)) return i;
        bool const stops = rest[0] == '.' || rest[0] == '?' || rest[0] == '!';
        if (stops && (rest.size() == 1 || kSpace.find(rest[1]) != std::string_view::npos)) return i;
    }
    return text.size();
}

std::string with_capital(std::string_view text) {
    std::string out(text);
    if (!out.empty() && out[0] >= 'a' && out[0] <= 'z') out[0] = static_cast<char>(out[0] - 32);
    return out;
}

std::string title_of(QuotedChat const& chat) {
    if (chat.asked.empty()) return {};
    auto line = first_line(chat.asked.front());
    line = trimmed(line.substr(0, sentence_end(line)));
    auto const& language = language_of(chat.asked.front());
    std::vector<std::string_view> words;
    while (!line.empty() && words.size() < kTitleWordsMax) {
        auto const end = std::min(line.find_first_of(kSpace), line.size());
        words.push_back(line.substr(0, end));
        line = trimmed(line.substr(end));
    }
    bool const is_cut = !line.empty();
    while (is_cut && words.size() > 2 && is_common(language, lower_case(words.back())))
        words.pop_back(); // not to end in "of the"
    std::string title;
    for (auto const word : words) {
        auto const room = kTitleCodePointsMax - count_code_points(title);
        bool const fits = count_code_points(word) < room;
        if (!fits && room < kTitleCodePointsMax / 2) break; // long enough without it
        title.append(title.empty() ? "" : " ").append(cut(word, fits ? room : room - 1));
        if (!fits) break;
    }
    auto const end = title.find_last_not_of(",;:.-*_`\"'( ");
    title.resize(end == std::string::npos ? 0 : end + 1);
    return with_capital(title);
}

// The words of the user's that come most often, the earlier one first among equals.
std::vector<std::string> tags_of(QuotedChat const& chat, TaskLanguage const& language) {
    struct Word {
        std::string text;
        std::size_t count, position;
    };
    std::vector<Word> words;
    for (auto const text : chat.asked) {
        for_each_word(text.substr(0, kReadBytesMax / 8), [&](std::string_view word) {
            auto const size = count_code_points(word);
            if (size < kTagCodePointsMin || size > kTagCodePointsMax) return;
            auto small = lower_case(word);
            if (is_common(language, small)) return;
            auto const known = std::ranges::find(words, small, &Word::text);
            if (known != words.end()) {
                ++known->count;
            } else if (words.size() < kTagWordsMax) {
                words.push_back({std::move(small), 1, words.size()});
            }
        });
    }
    std::ranges::sort(words, [](Word const& a, Word const& b) {
        return a.count != b.count ? a.count > b.count : a.position < b.position;
    });
    std::vector<std::string> tags;
    for (auto const& word : words)
        if (word.count > 1 && tags.size() < kTagsMax) tags.push_back(with_capital(word.text));
    return tags;
}

std::string object(std::string_view name, std::string_view text) {
    std::string out = "{\"";
    out.append(name).append("\":");
    core::append_json_string(out, text);
    return out + "}";
}

template <class Texts>
std::string object_of_list(std::string_view name, Texts const& texts) {
    std::string out = "{\"";
    out.append(name).append("\":[");
    bool first = true;
    for (auto const& text : texts) {
        if (!std::exchange(first, false)) out += ',';
        core::append_json_string(out, text);
    }
    return out + "]}";
}

} // namespace

std::optional<std::string> heuristic_task_answer(BackgroundTask task, std::string_view prompt) {
    auto const chat = read_chat(prompt);
    auto const last = chat.asked.empty() ? std::string_view{} : chat.asked.back();
    switch (task) {
        case BackgroundTask::kTitle:
            return object("title", title_of(chat));
        case BackgroundTask::kTags: {
            auto const& language = language_of_chat(chat);
            auto tags = chat.messages < kTagMessagesMin ? std::vector<std::string>{} : tags_of(chat, language);
            if (tags.empty()) tags.emplace_back(language.general);
            return object_of_list("tags", tags);
        }
        case BackgroundTask::kFollowUps:
            return object_of_list("follow_ups", language_of_chat(chat).follow_ups);
        case BackgroundTask::kQueries:
            if (last.empty()) return empty_task_answer(task);
            return object_of_list("queries", std::array{cut(last, kQueryCodePointsMax)});
        case BackgroundTask::kImagePrompt:
            return object("prompt", last);
        case BackgroundTask::kEmoji:
            return "🙂";
        case BackgroundTask::kAutocomplete: // what a model alone can do: nothing is a good completion, too
        case BackgroundTask::kToolChoice:
            return empty_task_answer(task);
        case BackgroundTask::kNone:
        case BackgroundTask::kOther:
            break;
    }
    return std::nullopt;
}

std::optional<std::string> empty_task_answer(BackgroundTask task) {
    switch (task) {
        case BackgroundTask::kTitle:
            return R"({"title":""})";
        case BackgroundTask::kTags:
            return R"({"tags":[]})";
        case BackgroundTask::kFollowUps:
            return R"({"follow_ups":[]})";
        case BackgroundTask::kQueries:
            return R"({"queries":[]})";
        case BackgroundTask::kImagePrompt:
            return R"({"prompt":""})";
        case BackgroundTask::kAutocomplete:
            return R"({"text":""})";
        case BackgroundTask::kToolChoice:
            return R"({"tool_calls":[]})";
        case BackgroundTask::kEmoji:
            return "";
        case BackgroundTask::kNone:
        case BackgroundTask::kOther:
            break;
    }
    return std::nullopt;
}

} // namespace parley::server

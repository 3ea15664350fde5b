// The demo model: chooses what to say, then cuts it as a provider would (stop, max_tokens) and counts it.
// Pure; runs on the loop of the request.
#include "providers/demo_script.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "core/json.hpp"
#include "providers/demo_commands.hpp"
#include "providers/demo_json.hpp"
#include "providers/demo_scene.hpp"
#include "providers/json_text.hpp"

namespace parley::providers {

namespace {

constexpr std::size_t kPieceBytesMax = 64;
constexpr std::size_t kQuoteBytesMax = 400;
constexpr std::size_t kToolTextBytesMax = 2000;
constexpr std::int64_t kDelayMs = 15;
constexpr std::int64_t kDelayMsMax = 60'000;
constexpr std::int64_t kChoicesMax = 128;
constexpr std::size_t kBytesPerToken = 4;

std::int64_t tokens_of(std::size_t bytes) noexcept {
    return static_cast<std::int64_t>((bytes + kBytesPerToken - 1) / kBytesPerToken);
}

bool is_space(char c) noexcept {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/// Keeps the first `pieces_max` pieces. Returns how many that are.
std::size_t cut_to_pieces(std::string& text, std::size_t pieces_max) {
    std::string_view rest = text;
    std::size_t kept = 0;
    for (; kept < pieces_max && !rest.empty(); ++kept)
        rest.remove_prefix(demo_piece(rest).size());
    text.resize(text.size() - rest.size());
    return kept;
}

std::string cited(std::string_view text) {
    std::string out = "> ";
    for (char const c : shortened(text, kQuoteBytesMax)) {
        out += c;
        if (c == '\n') out += "> ";
    }
    return out;
}

std::string count_by_role(DemoScene const& scene) {
    std::array<std::size_t, 6> counts{};
    for (auto const& said : scene.messages)
        ++counts[static_cast<std::size_t>(said.role)];
    std::string out;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        if (counts[i] == 0) continue;
        out += fmt::format("{}{} {}", out.empty() ? "" : ", ", counts[i], chat::role_name(static_cast<chat::Role>(i)));
    }
    return out;
}

std::string joined_tools(DemoScene const& scene) {
    if (scene.tools.empty()) return "none";
    std::string out;
    for (auto const& name : scene.tools)
        out += fmt::format("{}`{}`", out.empty() ? "" : ", ", name);
    return out;
}

std::string joined_settings(DemoScene const& scene) {
    if (scene.settings.empty()) return "none";
    std::string out;
    for (auto const& setting : scene.settings)
        out += fmt::format("{}{} {}", out.empty() ? "" : ", ", setting.name, shortened(setting.json, 60));
    return out;
}

std::string tell_what_came(DemoScene const& scene) {
    std::string_view const said = scene.last_user_text();
    std::string text = fmt::format(
        "Hello! I am `{}`, the demo model built into Parley: no network, no key, and the same answer to the same "
        "question every time.\n\n",
        scene.model);
    if (!said.empty()) text += fmt::format("You said:\n\n{}\n\n", cited(said));
    text += fmt::format("What I was sent:\n\n- {} {} ({})\n", scene.messages.size(),
                        scene.messages.size() == 1 ? "message" : "messages", count_by_role(scene));
    text += fmt::format("- this agent's system prompt: {}\n",
                        scene.system_prompt_bytes == 0 ? "none" : fmt::format("{} bytes", scene.system_prompt_bytes));
    text += fmt::format("- tools: {}\n- settings: {}\n", joined_tools(scene), joined_settings(scene));
    if (scene.attachments > 0) text += fmt::format("- {} images, files or sounds\n", scene.attachments);
    text += scene.tools.empty() ? "\nType `/help` to see what else I can do."
                                : fmt::format("\nTry a tool: `/call {} {{}}`. Type `/help` to see what else I can do.",
                                              scene.tools.front());
    return text;
}

std::string tell_tool_results(DemoScene const& scene) {
    auto first = scene.messages.size();
    while (first > 0 && (scene.messages[first - 1].role == chat::Role::kTool ||
                         scene.messages[first - 1].role == chat::Role::kFunction)) {
        --first;
    }
    std::string text;
    for (auto i = first; i < scene.messages.size(); ++i) {
        auto const& result = scene.messages[i];
        text += fmt::format("{}The tool{} answered:\n\n```\n{}\n```", text.empty() ? "" : "\n\n",
                            result.name.empty() ? "" : fmt::format(" `{}`", result.name),
                            shortened(result.text, kToolTextBytesMax));
    }
    return text;
}

DemoDraft draft_answer(DemoScene const& scene) {
    DemoDraft draft;
    if (scene.after_tools()) {
        draft.text = tell_tool_results(scene);
        return draft;
    }
    if (auto command = run_demo_command(scene, scene.last_user_text())) return std::move(*command);
    if (scene.forced) {
        draft.calls.push_back(demo_call(scene, 0, *scene.forced, "{}"));
        return draft;
    }
    draft.text = demo_json_answer(scene.setting("response_format"), scene.last_user_text());
    if (draft.text.empty()) draft.text = tell_what_came(scene);
    return draft;
}

/// Cuts `text` where the first of the stop sequences begins. Returns whether it did.
bool cut_at_stop(std::string& text, std::string_view stop_json) {
    std::vector<std::string> stops;
    JsonSlicer slicer;
    if (is_string(stop_json)) stops.push_back(core::json_body_to_text(string_body(stop_json)));
    if (is_array(stop_json)) {
        auto const elements = slicer.elements(stop_json);
        for (std::string_view const element : elements ? *elements : JsonElements{})
            stops.push_back(core::json_body_to_text(string_body(element)));
    }
    std::size_t cut = std::string::npos;
    for (auto const& stop : stops) {
        if (!stop.empty()) cut = std::min(cut, text.find(stop));
    }
    if (cut == std::string::npos) return false;
    text.resize(cut);
    return true;
}

std::chrono::milliseconds delay_of(ModelSpec const& spec) {
    auto const* const setting = spec.settings.if_contains("demo_delay_ms");
    std::int64_t delay_ms = kDelayMs;
    if (setting && setting->is_number()) {
        boost::json::error_code failed;
        auto const asked = setting->to_number<std::int64_t>(failed);
        if (!failed) delay_ms = std::clamp<std::int64_t>(asked, 0, kDelayMsMax);
    }
    return std::chrono::milliseconds(delay_ms);
}

} // namespace

std::string_view demo_piece(std::string_view text) noexcept {
    std::size_t end = 0;
    while (end < text.size() && is_space(text[end]))
        ++end; // only at the start of the text
    while (end < text.size() && !is_space(text[end]))
        ++end;
    while (end < text.size() && is_space(text[end]))
        ++end;
    if (end > kPieceBytesMax) {
        end = kPieceBytesMax;
        while (end > 1 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
            --end;
    }
    return text.substr(0, end);
}

DemoAnswer answer_as_demo(ModelSpec const& spec, chat::Turn const& turn) {
    DemoScene const scene(spec, turn);
    DemoDraft draft = draft_answer(scene);
    bool const stopped = cut_at_stop(draft.text, scene.setting("stop"));

    DemoAnswer answer;
    answer.delay = draft.delay.value_or(delay_of(spec));
    answer.is_slow = draft.delay.has_value();
    answer.choices =
        static_cast<int>(std::clamp<std::int64_t>(read_integer(scene.setting("n")).value_or(1), 1, kChoicesMax));
    answer.reasoning = std::move(draft.reasoning);
    answer.text = std::move(draft.text);
    answer.calls = std::move(draft.calls);
    answer.error = std::move(draft.error);
    answer.finish = answer.calls.empty() ? chat::FinishReason::kStop : chat::FinishReason::kToolCalls;
    if (stopped) answer.error.reset(); // the text ended before what was to happen after it

    auto const asked = read_integer(scene.setting("max_completion_tokens")).value_or(0);
    auto const pieces_max = asked > 0 ? static_cast<std::size_t>(asked) : std::string::npos;
    auto const whole_bytes = answer.reasoning.size() + answer.text.size();
    auto const thought = cut_to_pieces(answer.reasoning, pieces_max);
    auto const said = cut_to_pieces(answer.text, pieces_max - thought);
    if (answer.reasoning.size() + answer.text.size() < whole_bytes) {
        answer.finish = chat::FinishReason::kLength;
        answer.calls.clear();
        answer.error.reset();
    }

    answer.usage.prompt_tokens = tokens_of(scene.prompt_bytes);
    answer.usage.reasoning_tokens = static_cast<std::int64_t>(thought);
    answer.usage.completion_tokens = answer.usage.reasoning_tokens + static_cast<std::int64_t>(said);
    for (auto const& call : answer.calls)
        answer.usage.completion_tokens += tokens_of(call.name.size() + call.arguments.size());
    answer.usage.completion_tokens *= answer.choices;
    answer.usage.reasoning_tokens *= answer.choices;
    return answer;
}

} // namespace parley::providers

// The commands of the demo model, one function each, and the table that names them.
// Pure; runs on the loop of the request.
#include "providers/demo_commands.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "core/json.hpp"

namespace parley::providers {

namespace {

using core::Errc;

constexpr std::size_t kArgumentsDepthMax = 64;
constexpr std::size_t kLongWordsMax = 100'000;
constexpr int kSlowDelayMsMax = 10'000;
constexpr std::string_view kSpace = " \t\r\n";

struct Command {
    std::string_view name;
    std::string_view usage;
    std::string_view what;
    DemoDraft (*run)(DemoScene const& scene, std::string_view rest);
};

std::string_view trimmed(std::string_view text) noexcept {
    std::size_t const first = text.find_first_not_of(kSpace);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

/// Takes the first word off `text`, and the white space before and one character of it behind.
std::string_view take_word(std::string_view& text) noexcept {
    std::size_t const start = std::min(text.find_first_not_of(kSpace), text.size());
    std::size_t const end = std::min(text.find_first_of(kSpace, start), text.size());
    std::string_view const word = text.substr(start, end - start);
    text.remove_prefix(std::min(end + 1, text.size()));
    return word;
}

std::optional<int> to_number(std::string_view word) noexcept {
    int number = 0;
    auto const [stop, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (error != std::errc{} || stop != word.data() + word.size()) return std::nullopt;
    return number;
}

DemoDraft say(std::string text) {
    DemoDraft draft;
    draft.text = std::move(text);
    return draft;
}

std::string tool_list(DemoScene const& scene) {
    if (scene.tools.empty()) return "No tools can be used in this request.";
    std::string list = "These tools can be used:\n";
    for (auto const& name : scene.tools)
        list += fmt::format("\n- `{}`", name);
    return list;
}

DemoDraft run_help(DemoScene const&, std::string_view) {
    return say(demo_help());
}

DemoDraft run_echo(DemoScene const&, std::string_view rest) {
    return say(std::string(rest));
}

/// The tool of that name, or the only one of that name behind a server's label (label__name).
std::optional<std::string> find_tool(DemoScene const& scene, std::string_view name) {
    if (std::find(scene.tools.begin(), scene.tools.end(), name) != scene.tools.end()) return std::string(name);
    std::string const suffix = fmt::format("__{}", name);
    auto ends = [&suffix](std::string const& tool) { return tool.ends_with(suffix); };
    if (std::count_if(scene.tools.begin(), scene.tools.end(), ends) != 1) return std::nullopt;
    return *std::find_if(scene.tools.begin(), scene.tools.end(), ends);
}

/// One call for each line that begins with /call; arguments may run over several lines.
DemoDraft run_call(DemoScene const& scene, std::string_view rest) {
    constexpr std::string_view kNext = "\n/call ";
    DemoDraft draft;
    while (true) {
        std::size_t const next = rest.find(kNext);
        std::string_view one = rest.substr(0, next);
        std::string_view const wanted = take_word(one);
        std::string_view const arguments = trimmed(one);

        if (wanted.empty()) return say("Say which tool: `/call TOOL {\"name\": \"value\"}`.\n\n" + tool_list(scene));
        auto const name = find_tool(scene, wanted);
        if (!name) return say(fmt::format("There is no tool `{}` in this request. {}", wanted, tool_list(scene)));
        if (!arguments.empty()) {
            auto const valid = core::check_json(arguments, kArgumentsDepthMax);
            if (!valid || arguments.front() != '{') {
                return say(
                    fmt::format("The arguments for `{}` must be one JSON object, such as `{{\"path\": "
                                "\"a.txt\"}}`.\n\nWhat came was `{}`: {}",
                                *name, shortened(arguments, 200),
                                valid ? "valid JSON, but not an object." : valid.error().message));
            }
        }
        draft.calls.push_back(demo_call(scene, draft.calls.size(), *name,
                                        arguments.empty() ? std::string("{}") : std::string(arguments)));
        if (next == std::string_view::npos) return draft;
        rest.remove_prefix(next + kNext.size());
    }
}

DemoDraft run_tools(DemoScene const& scene, std::string_view) {
    return say(tool_list(scene));
}

DemoDraft run_messages(DemoScene const& scene, std::string_view) {
    std::string text = fmt::format("{} messages came with this request:\n", scene.messages.size());
    std::size_t number = 0;
    for (auto const& said : scene.messages) {
        std::string line = shortened(said.text, 80);
        std::replace(line.begin(), line.end(), '\n', ' ');
        text += fmt::format("\n{}. {}{}: {}", ++number, chat::role_name(said.role),
                            said.name.empty() ? "" : fmt::format(" `{}`", said.name), line);
    }
    return say(std::move(text));
}

DemoDraft run_settings(DemoScene const& scene, std::string_view) {
    if (scene.settings.empty()) return say("No settings came with this request, and the agent has none.");
    std::string text = "Settings of this request:\n";
    for (auto const& setting : scene.settings) {
        text += fmt::format("\n- `{}`: `{}`{}", setting.name, shortened(setting.json, 200),
                            setting.is_agents ? " (from the agent)" : "");
    }
    return say(std::move(text));
}

DemoDraft run_think(DemoScene const&, std::string_view rest) {
    std::string const subject = shortened(trimmed(rest), 400);
    std::string const about = subject.empty() ? "nothing in particular" : fmt::format("\"{}\"", subject);
    DemoDraft draft;
    draft.reasoning = fmt::format(
        "The user wants me to think about {}. A demo model has little to think with, so "
        "I look at it from the left, then from the right. Both look fine.",
        about);
    draft.text = fmt::format("I have thought about {}. The thinking came before this, as reasoning.", about);
    return draft;
}

DemoDraft run_slow(DemoScene const&, std::string_view rest) {
    std::string_view behind = rest;
    auto const number = to_number(take_word(behind));
    int const delay_ms = std::clamp(number.value_or(300), 0, kSlowDelayMsMax);
    std::string_view const text = trimmed(number ? behind : rest);
    DemoDraft draft = say(text.empty() ? fmt::format("This answer comes slowly: one word every {} ms. It gives you "
                                                     "time to watch a stream, or to stop it in the middle.",
                                                     delay_ms)
                                       : std::string(text));
    draft.delay = std::chrono::milliseconds(delay_ms);
    return draft;
}

DemoDraft run_long(DemoScene const&, std::string_view rest) {
    auto const number = to_number(trimmed(rest));
    if (!number || *number < 1) return say(fmt::format("Say how many words: `/long 500` (1 to {}).", kLongWordsMax));
    std::size_t const words = std::min(static_cast<std::size_t>(*number), kLongWordsMax);
    std::string text;
    text.reserve(words * 7);
    for (std::size_t i = 1; i <= words; ++i)
        text += fmt::format("{}{}", i, i == words ? "" : i % 20 == 0 ? "\n" : " ");
    return say(std::move(text));
}

struct Fault {
    std::string_view word;
    Errc code;
    int status;
    std::string_view message;
};

constexpr std::array<Fault, 13> kFaults{{
    {"400", Errc::kUpstreamRejected, 400, "The demo model refused the request, as it was told to."},
    {"401", Errc::kUpstreamAuth, 401, "The demo model does not accept this gateway's credentials, as it was told to."},
    {"429", Errc::kRateLimited, 429, "The demo model's rate limit is reached, as it was told to."},
    {"500", Errc::kUpstreamFailed, 500, "The demo model failed, as it was told to."},
    {"502", Errc::kUpstreamInvalid, 502, "The demo model answered nonsense, as it was told to."},
    {"503", Errc::kUpstreamOverloaded, 503, "The demo model is busy, as it was told to."},
    {"504", Errc::kUpstreamTimeout, 504, "The demo model took too long, as it was told to."},
    {"context", Errc::kContextLengthExceeded, 400, "The conversation is longer than the demo model pretends to read."},
    {"filter", Errc::kContentFilter, 400, "The demo model pretends that a content policy refused the prompt."},
    {"quota", Errc::kInsufficientQuota, 429, "The demo model pretends that its account has no credit left."},
    {"timeout", Errc::kUpstreamTimeout, 0, "The demo model took too long, as it was told to."},
    {"truncated", Errc::kUpstreamTruncated, 0, "The demo model stopped in the middle, as it was told to."},
    {"unavailable", Errc::kUpstreamUnavailable, 0, "The demo model could not be reached, as it was told to."},
}};

DemoDraft run_error(DemoScene const&, std::string_view rest) {
    std::string_view const word = take_word(rest);
    auto const* const fault =
        std::find_if(kFaults.begin(), kFaults.end(), [word](Fault const& f) { return f.word == word; });
    if (fault == kFaults.end()) {
        std::string text = "Say which error: `/error 429`, or `/error 429 TEXT` to fail after saying TEXT. Known:";
        for (auto const& known : kFaults)
            text += fmt::format(" `{}`", known.word);
        return say(std::move(text));
    }
    DemoDraft draft = say(std::string(trimmed(rest)));
    draft.error = core::make_error(fault->code, std::string(fault->message));
    draft.error->upstream_status = fault->status;
    if (fault->code == Errc::kRateLimited || fault->code == Errc::kUpstreamOverloaded)
        draft.error->retry_after = std::chrono::milliseconds(1000);
    if (fault->code == Errc::kInsufficientQuota) draft.error->should_retry = false;
    return draft;
}

constexpr std::array<Command, 10> kCommands{{
    {"/help", "/help", "this list", run_help},
    {"/echo", "/echo TEXT", "says TEXT, byte for byte", run_echo},
    {"/call", "/call TOOL {json}", "asks for that tool; several lines ask for several tools at once", run_call},
    {"/tools", "/tools", "lists the tools that this request lets me use", run_tools},
    {"/messages", "/messages", "lists the messages that I was sent: shows what memory does", run_messages},
    {"/settings", "/settings", "lists the settings that I was sent", run_settings},
    {"/think", "/think TEXT", "thinks aloud before it answers", run_think},
    {"/slow", "/slow [MS] [TEXT]", "answers one word every MS milliseconds (300)", run_slow},
    {"/long", "/long N", "answers N words", run_long},
    {"/error", "/error CODE [TEXT]", "fails, after saying TEXT: 429, 500, 503, timeout, truncated, ...", run_error},
}};

} // namespace

std::optional<DemoDraft> run_demo_command(DemoScene const& scene, std::string_view message) {
    std::size_t const start = message.find_first_not_of(kSpace);
    if (start == std::string_view::npos || message[start] != '/') return std::nullopt;
    std::string_view rest = message.substr(start);
    std::string_view const name = take_word(rest);
    auto const* const command =
        std::find_if(kCommands.begin(), kCommands.end(), [name](Command const& c) { return c.name == name; });
    if (command == kCommands.end()) return std::nullopt;
    return command->run(scene, rest);
}

std::string demo_help() {
    std::string help = "What I can do:\n";
    for (auto const& command : kCommands)
        help += fmt::format("\n- `{}` {}", command.usage, command.what);
    help += "\n\nAnything else: I tell you what I was sent.";
    return help;
}

std::string shortened(std::string_view text, std::size_t bytes_max) {
    if (text.size() <= bytes_max) return std::string(text);
    std::size_t end = bytes_max;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
        --end;
    return std::string(text.substr(0, end)) + "…";
}

DemoAnswer::Call demo_call(DemoScene const& scene, std::size_t number, std::string name, std::string arguments) {
    return {fmt::format("call_demo_{}_{}", scene.messages.size(), number), std::move(name), std::move(arguments)};
}

} // namespace parley::providers

#include "tests/simulation/scripted_tools.hpp"

#include <utility>

#include "tests/simulation/wait.hpp"

namespace parley::simulation {
namespace {

constexpr milliseconds kForever{3'600'000};

std::shared_ptr<mcp::ToolList const> both_tools() {
    mcp::ToolList list;
    for (auto const name : kTools) {
        mcp::Tool tool{std::string(name), "", R"({"type":"object"})", {}, name == "look", std::string(name)};
        list.tools.push_back(std::move(tool));
    }
    return std::make_shared<mcp::ToolList const>(std::move(list));
}

// Counts a tool of a request for as long as it runs.
struct Active {
    explicit Active(Request& of) : request(of) { ++request.active_tools; }
    Active(Active const&) = delete;
    Active& operator=(Active const&) = delete;
    ~Active() { --request.active_tools; }
    Request& request;
};

} // namespace

ScriptedTools::ScriptedTools(Ledger& ledger, Chance& chance, ToolWeather weather)
    : ledger_(ledger), chance_(chance), weather_(weather), list_(both_tools()) {}

core::Task<std::vector<mcp::ServerTools>> ScriptedTools::tools(
    core::Context const& context, mcp::Caller const&, std::span<std::shared_ptr<mcp::ServerSpec const> const> servers) {
    auto const waited = co_await wait(context, chance_.ms(0, 5));
    if (!waited) co_return waited.error();
    std::vector<mcp::ServerTools> out;
    for (auto const& server : servers) {
        bool const is_away = VirtualTime::now() < weather_.until && chance_.percent(weather_.away);
        out.push_back(is_away ? mcp::ServerTools{server, nullptr, "it is not running"}
                              : mcp::ServerTools{server, list_});
    }
    co_return std::move(out);
}

core::Task<mcp::CallResult> ScriptedTools::call(core::Context const& context, mcp::Caller const&, mcp::ToolCall call) {
    if (context.cancellation.cancelled()) co_return core::make_error(core::Errc::kCancelled, "The run was cancelled.");
    auto* const request = ledger_.find(context.request_id);
    ledger_.expect(request != nullptr, "a tool runs for nobody", context.request_id);
    if (!request) co_return core::make_error(core::Errc::kInternal, "for nobody");
    Active const active(*request);
    auto out = co_await run(context, *request, call);
    ledger_.note(request->id, "{} {} ends: {}", call.tool, call.arguments,
                 out ? out->text : std::string(core::code_name(out.error().code)));
    co_return std::move(out);
}

core::Task<mcp::CallResult> ScriptedTools::run(core::Context const& context, Request& request,
                                               mcp::ToolCall const& call) {
    auto* const asked = ledger_.tool_runs(request, call.arguments);
    if (!asked) co_return core::make_error(core::Errc::kInternal, "not asked for");
    auto const number = asked->number; // what it points to may go while we wait
    ledger_.note(request.id, "runs {} {}", call.tool, call.arguments);
    auto const dice = VirtualTime::now() < weather_.until ? chance_.between(0, 99) : 99;
    auto const hangs = dice < weather_.hangs;
    auto const fails = !hangs && dice < weather_.hangs + weather_.fails;
    auto const slow = !hangs && !fails && dice < weather_.hangs + weather_.fails + weather_.slow;
    for (int step = 0; slow && step < 3; ++step) {
        auto const waited = co_await wait(context, chance_.ms(50, 600));
        if (!waited) co_return waited.error();
        if (call.on_progress) call.on_progress({step + 1.0, 3.0, "still at it"});
    }
    auto const waited = co_await wait(context, hangs ? kForever : chance_.ms(0, 40));
    if (!waited) co_return waited.error();
    mcp::CallResult result;
    result.reached_tool = true;
    result.is_error = fails;
    result.text = fmt::format("s{}r{}.", request.session, number);
    for (auto& one : request.round)
        if (one.number == number) one.result = result.text;
    co_return std::move(result);
}

} // namespace parley::simulation

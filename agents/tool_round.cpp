#include "agents/tool_round.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <ctime>
#include <optional>
#include <utility>

#include "core/hash.hpp"

namespace parley::agents {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

constexpr std::string_view kNoOutput = "(The tool gave no output.)";

std::int64_t since(core::SteadyTime begun) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun).count();
}

} // namespace

// What the coroutines of the calls share with the round. It outlives the round as long as one of them runs.
struct ToolRound::State {
    struct Progressed {
        double progress = 0, total = 0;
        std::string message;
    };
    struct Slot {
        core::SteadyTime begun = {};
        bool is_running = false; // begun and not told as ended
        bool tell_start = false, tell_end = false;
        std::optional<Progressed> progress = {}; // the latest that was not told
        Progressed told = {};                    // what the events' views point to
        std::int64_t duration_ms = 0;
    };

    State(ToolServices& given, mcp::Caller who, core::SteadyTime deadline, std::string request_id,
          core::Executor const& executor)
        : services(given),
          caller(std::move(who)),
          context{cancellation, deadline, std::move(request_id)},
          wake(executor, core::SteadyTime::max()) {}

    void record(std::size_t index, std::string_view outcome) const {
        if (!services.on_call) return;
        auto const& call = calls[index];
        auto const server =
            call.tool && call.tool->server ? std::string_view(call.tool->server->label) : std::string_view{};
        auto const hash = core::sha256_hex(call.arguments);
        services.on_call({context.request_id, caller.agent_id, caller.principal, server,
                          call.tool ? std::string_view(call.tool->name) : std::string_view(call.name), hash, outcome,
                          slots[index].duration_ms});
    }

    void end(std::size_t index, std::string text, bool is_error, std::string_view outcome) {
        auto& slot = slots[index];
        calls[index].text = std::move(text);
        calls[index].is_error = is_error;
        slot.duration_ms = since(slot.begun);
        slot.is_running = false;
        slot.tell_end = true;
        record(index, outcome);
        wake.cancel();
    }

    ToolServices& services; // only while is_open
    mcp::Caller caller;
    core::Cancellation cancellation; // of the calls: the run's, or the round is given up
    core::Context context;
    asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, core::Executor> wake;
    std::vector<AgentCall> calls;
    std::vector<Slot> slots; // of the same index
    bool is_open = true;     // the round still wants to know
    bool out_of_time = false;
    bool host_cancelled = false; // the tool servers are being shut down
};

// Passes the run's cancellation on to the calls.
class ToolRound::Stop final : public core::Cancellation::Hook {
public:
    explicit Stop(std::shared_ptr<State> state) : state_(std::move(state)) {}

private:
    void on_cancel() noexcept override {
        state_->cancellation.cancel();
        state_->wake.cancel();
    }
    std::shared_ptr<State> state_;
};

ToolRound::ToolRound(ToolServices& services, core::Context const& context, mcp::Caller const& caller, Limits limits,
                     core::Executor const& executor, std::vector<AgentCall> calls)
    : context_(context),
      state_(std::make_shared<State>(services, caller, limits.deadline, context.request_id, executor)),
      stop_(std::make_unique<Stop>(state_)),
      at_once_(std::max<std::size_t>(1, limits.at_once)) {
    state_->calls = std::move(calls);
    state_->slots.resize(state_->calls.size());
    context_.cancellation.add(*stop_);
}

ToolRound::~ToolRound() {
    stop_.reset();
    abandon("cancelled");
}

std::vector<AgentCall> const& ToolRound::calls() const noexcept {
    return state_->calls;
}

bool ToolRound::out_of_time() const noexcept {
    return state_->out_of_time;
}

core::Task<bool> ToolRound::next(std::vector<chat::RunEvent>& events) {
    auto const had = events.size();
    auto const executor = co_await asio::this_coro::executor;
    for (;;) {
        auto const is_cancelled = context_.cancellation.cancelled() || state_->host_cancelled;
        if (is_cancelled || Clock::now() >= context_.deadline) {
            abandon(is_cancelled ? "cancelled" : "timeout");
            tell(events);
            if (is_cancelled) co_return core::make_error(core::Errc::kCancelled, "The run was cancelled.");
            co_return core::make_error(core::Errc::kDeadlineExceeded, "The run took longer than it may.");
        }
        start_some(executor);
        tell(events);
        if (events.size() > had) co_return true;
        auto const& slots = state_->slots;
        auto const open = [](State::Slot const& slot) { return slot.is_running; };
        if (next_ == slots.size() && std::none_of(slots.begin(), slots.end(), open)) co_return false;
        state_->wake.expires_at(context_.deadline);
        co_await state_->wake.async_wait(asio::as_tuple(asio::use_awaitable_t<core::Executor>()));
    }
}

void ToolRound::start_some(core::Executor const& executor) {
    auto const& slots = state_->slots;
    auto const running = [&] {
        return static_cast<std::size_t>(
            std::count_if(slots.begin(), slots.end(), [](State::Slot const& slot) { return slot.is_running; }));
    };
    while (next_ < slots.size() && running() < at_once_)
        begin(next_++, executor);
}

void ToolRound::begin(std::size_t index, core::Executor const& executor) {
    auto& call = state_->calls[index];
    auto& slot = state_->slots[index];
    slot.begun = Clock::now();
    slot.is_running = true;
    slot.tell_start = true;
    if (!call.refused.empty()) return state_->end(index, call.refused, true, "limit");
    if (!call.tool) {
        return state_->end(index, "There is no tool \"" + call.name + "\". Use one of the tools that are offered.",
                           true, "unknown_tool");
    }
    auto const arguments = parse_arguments(call.arguments);
    if (!arguments) {
        return state_->end(index, arguments.error().message + " Call the tool again with valid arguments.", true,
                           "invalid_arguments");
    }
    if (auto problem = call.tool->problem(*arguments))
        return state_->end(index, std::move(*problem), true, "invalid_arguments");
    call.executed = true;
    if (!call.tool->server) {
        auto result = run_builtin_tool(call.tool->name, *arguments, std::time(nullptr));
        auto const outcome = result.is_error ? "error" : "ok";
        return state_->end(index, std::move(result.text), result.is_error, outcome);
    }
    mcp::ToolCall made{call.tool->server, call.tool->name, arguments->empty() ? "{}" : call.arguments};
    made.on_progress = [state = state_.get(), index](mcp::Progress const& progress) { // only while call() waits
        auto& told = state->slots[index];
        if (!state->is_open || !told.is_running) return;
        told.progress = State::Progressed{progress.progress, progress.total.value_or(0), progress.message};
        state->wake.cancel();
    };
    asio::co_spawn(executor, run_call(state_, index, std::move(made)),
                   [state = state_, index](std::exception_ptr failed) {
                       if (!failed || !state->is_open || !state->slots[index].is_running) return;
                       state->end(index, "The tool could not be run: an internal error.", true, "error");
                   });
}

core::Awaitable<void> ToolRound::run_call(std::shared_ptr<State> state, std::size_t index, mcp::ToolCall call) {
    auto result = co_await state->services.host.call(state->context, state->caller, std::move(call));
    if (!state->is_open || !state->slots[index].is_running) co_return;
    auto& told = state->calls[index];
    if (result) {
        told.reached_tool = result->reached_tool;
        told.images = std::move(result->images);
        told.sources = std::move(result->sources);
        auto text = !result->text.empty() ? std::move(result->text) : std::move(result->structured);
        if (text.empty() && told.images.empty()) text = kNoOutput;
        co_return state->end(index, std::move(text), result->is_error, result->is_error ? "error" : "ok");
    }
    told.reached_tool = true; // it may have been
    auto const code = result.error().code;
    if (code == core::Errc::kDeadlineExceeded) {
        state->out_of_time = true;
        co_return state->end(index, "The tool did not finish in the time that is left for this answer.", true,
                             "timeout");
    }
    state->host_cancelled = code == core::Errc::kCancelled;
    if (state->host_cancelled) co_return state->end(index, "The call was cancelled.", true, "cancelled");
    state->end(index, "The tool could not be run: " + result.error().message, true, "error");
}

// Views point into the state, where nothing moves while the round lives.
void ToolRound::tell(std::vector<chat::RunEvent>& events) {
    for (std::size_t i = 0; i < state_->slots.size(); ++i) {
        auto& slot = state_->slots[i];
        auto const& call = state_->calls[i];
        if (std::exchange(slot.tell_start, false))
            events.emplace_back(chat::ToolStarted{call.id, call.name, call.arguments});
        if (slot.progress) {
            slot.told = std::move(*slot.progress);
            slot.progress.reset();
            events.emplace_back(chat::ToolProgress{call.id, slot.told.progress, slot.told.total, slot.told.message});
        }
        if (std::exchange(slot.tell_end, false))
            events.emplace_back(chat::ToolEnded{call.id, call.name, call.text, call.is_error, slot.duration_ms,
                                                call.sources, call.images});
    }
}

// Ends whatever runs, without waiting for it.
void ToolRound::abandon(std::string_view outcome) {
    for (std::size_t i = 0; i < state_->slots.size(); ++i) {
        if (!state_->slots[i].is_running) continue;
        state_->calls[i].reached_tool = true; // nobody knows
        state_->end(i, outcome == "timeout" ? "The tool did not finish in time." : "The call was cancelled.", true,
                    outcome);
    }
    next_ = state_->slots.size();
    state_->is_open = false;
    state_->cancellation.cancel();
}

} // namespace parley::agents

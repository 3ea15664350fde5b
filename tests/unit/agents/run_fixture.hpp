// Runs one agents::Run to its end on a loop of its own, with fakes below it, and writes down what it says.
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agents/run.hpp"
#include "core/json.hpp"
#include "providers/session.hpp"
#include "tests/fakes/fake_provider.hpp"
#include "tests/fakes/fake_tool_host.hpp"

namespace parley::agents::testing {

using Events = std::vector<chat::RunEvent>;
using fakes::FakeProvider;
using fakes::FakeToolHost;
using Step = FakeProvider::Step;
using Steps = FakeProvider::Steps;

inline Step text(std::string_view body) {
    return Events{chat::TextDelta{body}};
}
inline Step end(std::int64_t tokens = 1, chat::FinishReason reason = chat::FinishReason::kStop) {
    return Events{chat::ChoiceEnd{reason}, chat::UsageReport{{tokens, 1}}};
}
inline Step calls_end(std::int64_t tokens = 1) {
    return end(tokens, chat::FinishReason::kToolCalls);
}
/// A whole call; `arguments` is a JSON string body.
inline Step call(int index, std::string_view id, std::string_view name, std::string_view arguments = "{}") {
    return Events{chat::ToolCallDelta{index, id, name, {}}, chat::ToolCallDelta{index, {}, {}, arguments}};
}
inline core::Error failure(core::Errc code) {
    return core::make_error(code, "failed");
}

struct Outcome {
    std::string said;
    std::vector<std::string> log; // every event but text, in words
    std::optional<core::Error> error;
    chat::Usage usage;
    std::optional<chat::AgentUsage> agent; // of the last UsageReport
    std::optional<chat::AgentUsage> run_agent;
    int usage_reports = 0;
    std::optional<chat::FinishReason> finish;
    int finishes = 0;
    std::size_t attempts = 0;
    std::string answered_by;
    bool tools_ran = false;
    std::vector<std::string> audit;

    std::string lines(std::string_view beginning) const {
        std::string out;
        for (auto const& line : log) {
            if (line.starts_with(beginning)) out += (out.empty() ? "" : "|") + line;
        }
        return out;
    }
};

class RunFixture : public ::testing::Test {
protected:
    std::shared_ptr<FakeProvider> add(std::vector<Steps> rounds, std::vector<core::Error> refusals = {}) {
        auto const name = "p" + std::to_string(agent_.candidates.size());
        auto provider = std::make_shared<FakeProvider>(name, std::move(rounds), std::move(refusals));
        agent_.candidates.push_back({"agent-" + name, "model", provider, provider->prepare({})});
        return provider;
    }

    /// A server with these tools; each takes any object unless `schema` says otherwise.
    void add_server(std::string const& label, std::vector<std::string> const& tools,
                    std::string const& schema = R"({"type":"object"})") {
        std::vector<mcp::Tool> list;
        for (auto const& tool : tools)
            list.push_back({tool, "does " + tool, schema, {}, false, "hash"});
        host_.set_tools(label, std::move(list));
        auto changed = std::make_shared<AgentTools>(*agent_.tools);
        auto const spec = std::make_shared<mcp::ServerSpec const>(mcp::ServerSpec{label});
        changed->servers.push_back({spec});
        changed->specs.push_back(spec);
        agent_.tools = changed;
    }
    void add_builtins() {
        auto changed = std::make_shared<AgentTools>(*agent_.tools);
        changed->built_ins = {"get_current_datetime", "add_two_numbers"};
        agent_.tools = changed;
    }

    /// The client's next message; also asistant and tool messages of its history.
    void say(chat::Role role, std::string_view json, std::string_view content) {
        messages_.push_back({role, json, content, {}, role == chat::Role::kUser});
    }

    Outcome run() {
        net::Loop loop({core::LogLevel::kError, core::LogFormat::kText, 2, false, false});
        boost::asio::thread_pool pool(1);
        providers::Session session(loop, pool);
        Outcome outcome;
        outcome_ = &outcome;
        services_.on_call = [&outcome](ToolCallRecord const& record) {
            outcome.audit.push_back(fmt::format("{}/{} {}", record.server, record.tool, record.outcome));
        };
        std::exception_ptr failed;
        auto done = [&loop, &failed](std::exception_ptr error) {
            failed = error;
            // Whatever still runs gets its turn before the loop stops.
            loop.post([&loop] { loop.post([&loop] { loop.post([&loop] { loop.post([&loop] { loop.stop(); }); }); }); });
        };
        boost::asio::co_spawn(loop.context(), drive(session, outcome), done);
        loop.run();
        if (failed) std::rethrow_exception(failed);
        return outcome;
    }

    Agent agent_;
    std::vector<chat::Message> messages_;
    std::vector<chat::Setting> settings_;
    std::string tools_;
    std::string tool_choice_;
    core::SteadyTime deadline_ = core::SteadyTime::max();
    int cancel_after_steps_ = -1;                         // posts of the loop, -1 = never
    int give_up_after_ = -1;                              // batches, then the run is destroyed as it is
    std::function<void(chat::RunEvent const&)> on_event_; // while the run waits for the next call of next()
    bool without_tools_ = false;
    FakeToolHost host_;
    ParkedCalls parked_;
    ToolServices services_{host_, parked_};

private:
    static core::Awaitable<void> cancel_later(core::Cancellation& cancellation, int steps,
                                              std::shared_ptr<bool> is_over) {
        auto const executor = co_await boost::asio::this_coro::executor;
        for (; steps > 0; --steps)
            co_await boost::asio::post(executor, boost::asio::use_awaitable_t<core::Executor>());
        if (!*is_over) cancellation.cancel();
    }

    core::Awaitable<void> drive(providers::Session& session, Outcome& outcome) {
        core::Cancellation cancellation;
        core::Context const context{cancellation, deadline_, "req_1"};
        auto const is_over = std::make_shared<bool>(false);
        auto const executor = co_await boost::asio::this_coro::executor;
        if (cancel_after_steps_ >= 0)
            boost::asio::co_spawn(executor, cancel_later(cancellation, cancel_after_steps_, is_over),
                                  [](std::exception_ptr) {});
        chat::Turn turn{messages_, settings_, tools_, tool_choice_, true};
        mcp::Caller caller{"key:1"};
        caller.agent_id = "agent";
        agents::Run run(session, context, agent_, turn, services_, std::move(caller), without_tools_);
        auto more = true;
        for (auto batch = 0; more && batch != give_up_after_; ++batch) {
            Events events;
            auto const next = co_await run.next(events);
            for (auto const& event : events)
                note(event, outcome);
            if (!next) outcome.error = next.error();
            more = next && *next;
        }
        outcome.usage = run.usage();
        outcome.attempts = run.attempts();
        outcome.answered_by = run.answered_by().agent_id;
        outcome.tools_ran = run.tools_ran();
        if (run.agent_usage()) outcome.run_agent = *run.agent_usage();
        *is_over = true;
    }

    void note(chat::RunEvent const& event, Outcome& outcome) {
        if (auto const* const e = std::get_if<chat::TextDelta>(&event)) outcome.said += e->body;
        if (auto const* const e = std::get_if<chat::ToolStarted>(&event))
            outcome.log.push_back(fmt::format("started {} {} {}", e->call_id, e->name, e->arguments));
        if (auto const* const e = std::get_if<chat::ToolProgress>(&event))
            outcome.log.push_back(fmt::format("progress {} {}/{} {}", e->call_id, e->progress, e->total, e->message));
        if (auto const* const e = std::get_if<chat::ToolEnded>(&event))
            outcome.log.push_back(
                fmt::format("ended {} {} {}{}", e->call_id, e->name, e->is_error ? "! " : "", e->result));
        if (auto const* const e = std::get_if<chat::ToolCallDelta>(&event))
            outcome.log.push_back(fmt::format("call {} {} {} {}", e->index, e->id, e->name, e->arguments));
        if (auto const* const e = std::get_if<chat::ModelReport>(&event))
            outcome.log.push_back(fmt::format("model {}", e->model));
        if (auto const* const e = std::get_if<chat::ChoiceEnd>(&event)) {
            outcome.finish = e->reason;
            ++outcome.finishes;
        }
        if (auto const* const e = std::get_if<chat::UsageReport>(&event)) {
            ++outcome.usage_reports;
            outcome.agent = e->agent;
        }
        if (on_event_) on_event_(event);
    }

    Outcome* outcome_ = nullptr;
};

} // namespace parley::agents::testing

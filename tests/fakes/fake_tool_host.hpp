// Tool servers that do what the test tells them to: results, errors, progress, and calls that wait to be released.
// One test, one loop; no I/O, no clock.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mcp/tool_host.hpp"

namespace parley::fakes {

class FakeToolHost final : public mcp::ToolHost {
public:
    struct Answer {
        mcp::CallResult result = {};
        std::optional<core::Error> error = {};
        std::vector<mcp::Progress> progress = {}; // told before the answer, one wait after each
        bool waits = false;                       // until release() or the context is cancelled
    };

    struct Called {
        std::string server;
        std::string tool;
        std::string arguments;
        core::SteadyTime deadline;
        std::string principal;
    };

    static Answer says(std::string text) {
        Answer answer;
        answer.result.text = std::move(text);
        answer.result.reached_tool = true;
        return answer;
    }

    /// The list of the server with that label; without one it is unavailable.
    void set_tools(std::string const& label, std::vector<mcp::Tool> tools) {
        lists_[label] = std::make_shared<mcp::ToolList const>(mcp::ToolList{std::move(tools)});
    }
    void set_answer(std::string const& tool, Answer answer) { answers_[tool] = std::move(answer); }
    void fail_lists(core::Error error) { list_error_ = std::move(error); }

    void release() {
        released_ = true;
        for (auto* const waiting : waiting_)
            waiting->cancel();
    }

    int asked_for_lists() const noexcept { return asked_; }
    std::vector<Called> const& calls() const noexcept { return calls_; }
    int running() const noexcept { return running_; }
    int most_running() const noexcept { return most_running_; }
    int cancelled() const noexcept { return cancelled_; }

    core::Task<std::vector<mcp::ServerTools>> tools(
        core::Context const& context, mcp::Caller const&,
        std::span<std::shared_ptr<mcp::ServerSpec const> const> servers) override {
        ++asked_;
        co_await pause();
        if (context.cancellation.cancelled()) co_return core::make_error(core::Errc::kCancelled, "cancelled");
        if (list_error_) co_return *list_error_;
        std::vector<mcp::ServerTools> out;
        for (auto const& server : servers) {
            auto const list = lists_.find(server->label);
            if (list == lists_.end()) {
                out.push_back({server, nullptr, "it is not running"});
            } else {
                out.push_back({server, list->second});
            }
        }
        co_return out;
    }

    core::Task<mcp::CallResult> call(core::Context const& context, mcp::Caller const& caller,
                                     mcp::ToolCall call) override {
        calls_.push_back({call.server->label, call.tool, call.arguments, context.deadline, caller.principal});
        Running const running(*this);
        auto const answer = answers_[call.tool];
        for (auto const& progress : answer.progress) {
            if (call.on_progress) call.on_progress(progress);
            co_await pause();
        }
        if (answer.waits) co_await wait(context);
        co_await pause();
        if (context.cancellation.cancelled()) {
            ++cancelled_;
            co_return core::make_error(core::Errc::kCancelled, "cancelled");
        }
        if (answer.error) co_return *answer.error;
        co_return answer.result;
    }

private:
    using Timer =
        boost::asio::basic_waitable_timer<std::chrono::steady_clock,
                                          boost::asio::wait_traits<std::chrono::steady_clock>, core::Executor>;

    struct Running {
        explicit Running(FakeToolHost& given) : host(given) {
            host.most_running_ = std::max(host.most_running_, ++host.running_);
        }
        ~Running() { --host.running_; }
        FakeToolHost& host;
    };

    static core::Awaitable<void> pause() {
        auto const executor = co_await boost::asio::this_coro::executor;
        co_await boost::asio::post(executor, boost::asio::use_awaitable_t<core::Executor>());
    }

    core::Awaitable<void> wait(core::Context const& context) {
        auto const executor = co_await boost::asio::this_coro::executor;
        Timer timer(executor, core::SteadyTime::max());
        waiting_.push_back(&timer);
        core::OnCancel const hook(context.cancellation, [&timer] { timer.cancel(); });
        if (!released_ && !context.cancellation.cancelled())
            co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable_t<core::Executor>()));
        waiting_.remove(&timer);
    }

    std::map<std::string, std::shared_ptr<mcp::ToolList const>> lists_;
    std::map<std::string, Answer> answers_;
    std::optional<core::Error> list_error_;
    std::list<Timer*> waiting_;
    bool released_ = false;
    int asked_ = 0;
    std::vector<Called> calls_;
    int running_ = 0;
    int most_running_ = 0;
    int cancelled_ = 0;
};

} // namespace parley::fakes

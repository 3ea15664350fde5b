// A provider that says what the test tells it to, one step at a time, without any I/O, and remembers what it was asked.
#pragma once

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "providers/model_health.hpp"
#include "providers/provider.hpp"

namespace parley::fakes {

class FakeProvider final : public providers::Provider {
public:
    // What one call of next() does: give out these events (and go on), or fail.
    using Step = std::variant<std::vector<chat::RunEvent>, core::Error>;
    using Steps = std::vector<Step>;

    /// A turn that it was given, copied.
    struct Asked {
        std::vector<std::string> messages; // JSON
        std::string tools;
        std::string tool_choice;
    };

    explicit FakeProvider(std::string name, Steps steps, std::vector<core::Error> refusals = {})
        : FakeProvider(std::move(name), std::vector<Steps>{std::move(steps)}, std::move(refusals)) {}

    /// Each start takes the next script; the last one serves all later starts. `refusals` take the first starts, and no
    /// script.
    FakeProvider(std::string name, std::vector<Steps> rounds, std::vector<core::Error> refusals)
        : name_(std::move(name)), rounds_(std::move(rounds)), refusals_(std::move(refusals)) {}

    std::string_view name() const noexcept override { return name_; }
    std::string_view type() const noexcept override { return "fake"; }
    int starts() const noexcept { return starts_; }

    /// From now on it is a provider that can be away: it has these, and so many retries.
    void can_fail(std::shared_ptr<providers::ModelHealth> health, int max_retries) {
        health_ = std::move(health);
        max_retries_ = max_retries;
    }
    providers::ModelHealth* health(providers::PreparedModel const&) const noexcept override { return health_.get(); }
    int max_retries() const noexcept override { return max_retries_; }
    std::vector<Asked> const& asked() const noexcept { return asked_; }

    std::unique_ptr<providers::PreparedModel const> prepare(providers::ModelSpec const&) const override {
        return std::make_unique<providers::PreparedModel const>();
    }

    core::Task<std::unique_ptr<providers::ModelStream>> start(providers::Session&, core::Context const& context,
                                                              providers::PreparedModel const&,
                                                              chat::Turn const& turn) const override {
        auto& asked = asked_.emplace_back();
        for (auto const& message : turn.messages)
            asked.messages.emplace_back(message.json);
        asked.tools = turn.tools;
        asked.tool_choice = turn.tool_choice;
        auto const call = static_cast<std::size_t>(starts_++);
        if (call < refusals_.size()) co_return refusals_[call];
        auto const round = std::min(call - refusals_.size(), rounds_.size() - 1);
        co_return std::make_unique<Stream>(context, rounds_[round]);
    }

    core::Task<std::string> embed(providers::Session&, core::Context const&, std::string_view,
                                  std::string_view) const override {
        co_return std::string("{}");
    }

private:
    class Stream final : public providers::ModelStream {
    public:
        Stream(core::Context const& context, Steps const& steps) : context_(context), steps_(steps) {}

        core::Task<bool> next(std::vector<chat::RunEvent>& events) override {
            auto const executor = co_await boost::asio::this_coro::executor;
            co_await boost::asio::post(executor, boost::asio::use_awaitable_t<core::Executor>());
            if (context_.cancellation.cancelled())
                co_return core::make_error(core::Errc::kCancelled, "The client went away.");
            auto const& step = steps_[at_++];
            if (auto const* const error = std::get_if<core::Error>(&step)) co_return *error;
            auto const& given = std::get<std::vector<chat::RunEvent>>(step);
            events.insert(events.end(), given.begin(), given.end());
            co_return at_ < steps_.size();
        }

    private:
        core::Context const& context_;
        Steps const& steps_;
        std::size_t at_ = 0;
    };

    std::string name_;
    std::vector<Steps> rounds_;
    std::vector<core::Error> refusals_;
    std::shared_ptr<providers::ModelHealth> health_;
    int max_retries_ = 0;
    mutable int starts_ = 0; // one loop, one test
    mutable std::vector<Asked> asked_;
};

} // namespace parley::fakes

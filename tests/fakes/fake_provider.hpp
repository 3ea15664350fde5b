// A provider that says what the test tells it to, one step at a time, without any I/O.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "providers/provider.hpp"

namespace parley::fakes {

class FakeProvider final : public providers::Provider {
public:
    // What one call of next() does: give out these events (and go on), or fail.
    using Step = std::variant<std::vector<chat::RunEvent>, core::Error>;

    explicit FakeProvider(std::string name, std::vector<Step> steps, std::vector<core::Error> refusals = {})
        : name_(std::move(name)), steps_(std::move(steps)), refusals_(std::move(refusals)) {}

    std::string_view name() const noexcept override { return name_; }
    std::string_view type() const noexcept override { return "fake"; }
    int starts() const noexcept { return starts_; }

    std::unique_ptr<providers::PreparedModel const> prepare(providers::ModelSpec const&) const override {
        return std::make_unique<providers::PreparedModel const>();
    }

    core::Task<std::unique_ptr<providers::ModelStream>> start(providers::Session&, core::Context const&,
                                                              providers::PreparedModel const&,
                                                              chat::Turn const&) const override {
        auto const call = static_cast<std::size_t>(starts_++);
        if (call < refusals_.size()) co_return refusals_[call];
        co_return std::make_unique<Stream>(steps_);
    }

    core::Task<std::string> embed(providers::Session&, core::Context const&, std::string_view,
                                  std::string_view) const override {
        co_return std::string("{}");
    }

private:
    class Stream final : public providers::ModelStream {
    public:
        explicit Stream(std::vector<Step> const& steps) : steps_(steps) {}
        core::Task<bool> next(std::vector<chat::RunEvent>& events) override {
            auto const& step = steps_[at_++];
            if (auto const* const error = std::get_if<core::Error>(&step)) co_return *error;
            auto const& given = std::get<std::vector<chat::RunEvent>>(step);
            events.insert(events.end(), given.begin(), given.end());
            co_return at_ < steps_.size();
        }

    private:
        std::vector<Step> const& steps_;
        std::size_t at_ = 0;
    };

    std::string name_;
    std::vector<Step> steps_;
    std::vector<core::Error> refusals_;
    mutable int starts_ = 0; // one loop, one test
};

} // namespace parley::fakes

#include "agents/model_call.hpp"

#include <algorithm>
#include <utility>
#include <variant>

namespace parley::agents {

core::Task<bool> ModelCall::next(chat::Turn const& turn, std::vector<chat::RunEvent>& events, RoundFilter* filter) {
    auto const had = events.size();
    for (;;) {
        auto const more = co_await attempt(turn, events, filter);
        if (filter) filter->take(events, had);
        account(events, had);
        auto const shown = events.size() > had;
        if (more) {
            reached_client_ = reached_client_ || shown;
            if (shown || !*more) co_return *more;
            continue; // nothing to see yet: a fallback is still possible
        }
        auto const last = candidate_ + 1 == agent_.candidates.size();
        if (last || reached_client_ || shown || !core::is_retryable(more.error())) co_return more.error();
        overcome_.push_back(more.error());
        stream_.reset();
        model_pending_ = false;
        ++candidate_;
        if (filter) filter->restart();
    }
}

core::Task<bool> ModelCall::attempt(chat::Turn const& turn, std::vector<chat::RunEvent>& events, RoundFilter* filter) {
    if (!stream_) {
        auto const& candidate = agent_.candidates[candidate_];
        auto const& asked = filter ? filter->turn_for(candidate) : turn;
        auto started = co_await candidate.provider->start(session_, context_, *candidate.model, asked);
        if (!started) co_return started.error();
        stream_ = std::move(*started);
    }
    if (before_) {
        auto const done = co_await before_->done();
        if (!done) co_return done.error(); // not retryable: no fallback is asked
        before_ = nullptr;
    }
    co_return co_await stream_->next(events);
}

// Holds back what a client cannot see by itself: which model answered.
void ModelCall::account(std::vector<chat::RunEvent>& events, std::size_t from) {
    for (auto i = from; i < events.size(); ++i) {
        if (auto const* const report = std::get_if<chat::UsageReport>(&events[i])) count(report->usage);
        auto const* const model = std::get_if<chat::ModelReport>(&events[i]);
        if (!model) continue;
        model_.assign(model->model);
        system_fingerprint_.assign(model->system_fingerprint);
        service_tier_.assign(model->service_tier);
        model_pending_ = true;
    }
    if (!model_pending_) return;
    auto const first = events.begin() + static_cast<std::ptrdiff_t>(from);
    events.erase(std::remove_if(first, events.end(),
                                [](auto const& event) { return std::holds_alternative<chat::ModelReport>(event); }),
                 events.end());
    if (events.size() == from) return;
    events.insert(events.begin() + static_cast<std::ptrdiff_t>(from),
                  chat::ModelReport{model_, system_fingerprint_, service_tier_});
    model_pending_ = false;
}

} // namespace parley::agents

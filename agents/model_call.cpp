#include "agents/model_call.hpp"

#include <algorithm>
#include <utility>
#include <variant>

#include "agents/pause.hpp"

namespace parley::agents {

core::Task<bool> ModelCall::next(chat::Turn const& turn, std::vector<chat::RunEvent>& events, RoundFilter* filter) {
    auto const had = events.size();
    if (!std::exchange(is_begun_, true)) plan_.begin(std::chrono::steady_clock::now());
    for (;;) {
        // A frame less for nearly every event: attempt() has nothing to do once the stream is there.
        auto reading = stream_ && !before_ ? stream_->next(events) : attempt(turn, events, filter);
        auto const more = co_await std::move(reading);
        if (filter) filter->take(events, had);
        account(events, had);
        auto const shown = events.size() > had;
        if (more) {
            reached_client_ = reached_client_ || shown;
            if (shown || !*more) co_return *more;
            continue; // nothing to see yet: another attempt is still possible
        }
        if (reached_client_ || shown) co_return more.error();
        auto const prepared = co_await prepare_another(more.error(), filter);
        if (!prepared) co_return prepared.error();
    }
}

// Errors: the one that was given when there is no further attempt, kCancelled.
core::Task<> ModelCall::prepare_another(core::Error const& error, RoundFilter* filter) {
    auto const failed = plan_.candidate();
    auto const step = plan_.after(error, std::chrono::steady_clock::now(), context_.deadline);
    if (!step) co_return error;
    is_untold_ = false;
    overcome_.push_back({error, agent_.candidates[failed].agent_id, step->kind});
    stream_.reset();
    model_pending_ = false;
    if (filter) filter->restart();
    if (step->pause.count() > 0) co_return co_await pause(context_, step->pause);
    co_return core::Result<>();
}

core::Task<bool> ModelCall::attempt(chat::Turn const& turn, std::vector<chat::RunEvent>& events, RoundFilter* filter) {
    if (!stream_) {
        auto const& candidate = agent_.candidates[plan_.candidate()];
        auto const& asked = filter ? filter->turn_for(candidate) : turn;
        has_asked_ = is_untold_ = true;
        auto started = co_await candidate.provider->start(session_, context_, *candidate.model, asked);
        if (!started) {
            auto const code = started.error().code; // of us: it had not refused
            is_untold_ = code == core::Errc::kCancelled || code == core::Errc::kDeadlineExceeded;
            co_return started.error();
        }
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

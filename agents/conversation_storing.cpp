// How a ConversationTurn writes: what the client said while the model is asked, the answer when it is whole.
#include "agents/conversation_storing.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <utility>

namespace parley::agents {
namespace {

namespace asio = boost::asio;
using memory::StoredTurn;
using memory::TurnKind;
using std::chrono::steady_clock;
using Timer = asio::basic_waitable_timer<steady_clock, asio::wait_traits<steady_clock>, core::Executor>;

constexpr int kAppendsMax = 64; // against other writers of the same conversation
// An answer in hand is worth waiting for a database that is just coming back.
constexpr std::chrono::seconds kAnswerPatience{5};
constexpr std::chrono::milliseconds kAnswerPause{100};

core::Awaitable<void> wait_until(Timer& timer, core::SteadyTime when) {
    timer.expires_at(when);
    co_await timer.async_wait(asio::as_tuple(asio::use_awaitable_t<core::Executor>()));
}

} // namespace

void ConversationTurn::begin_storing() {
    if (!storing_) return;
    asio::co_spawn(executor_, store(storing_), [storing = storing_](std::exception_ptr failure) {
        if (failure) storing->outcome = core::make_error(core::Errc::kInternal, "The conversation was not stored.");
        storing->wake.cancel();
    });
}

core::Awaitable<void> ConversationTurn::store(std::shared_ptr<Storing> storing) {
    if (storing->client_tells) {
        storing->outcome = co_await storing->store.follow(storing->context, storing->key, storing->turns,
                                                          storing->resent, storing->expires_ms);
    } else {
        storing->outcome = co_await append(storing);
    }
}

core::Task<> ConversationTurn::append(std::shared_ptr<Storing> storing) {
    for (int tries = 0; tries < kAppendsMax && storing->owner != nullptr; ++tries) {
        auto const appended =
            co_await storing->store.append(storing->context, storing->key, storing->turns, storing->expires_ms);
        if (!appended) co_return appended.error();
        if (*appended) co_return core::Result<>();
        // Somebody else has said something meanwhile: this goes behind it.
        auto const path = co_await storing->store.path(storing->context, storing->key);
        if (!path) co_return path.error();
        if (storing->owner == nullptr) break;
        // Perhaps the same request, on its way a second time.
        if (auto const there = storing->owner->same_key(path->turns); there != 0) {
            storing->turns = {path->turns[there - 1]};
            co_return core::Result<>();
        }
        auto news = storing->owner->news_behind(path->turns);
        if (!news) co_return news.error();
        storing->turns = std::move(*news);
    }
    co_return core::make_error(core::Errc::kStoreUnavailable,
                               "Too many requests write to this conversation at the same time.");
}

core::Task<> ConversationTurn::stored() {
    if (!storing_) co_return core::Result<>();
    {
        auto const wake = [this]() noexcept { storing_->wake.cancel(); };
        core::OnCancel const on_cancel(context_.cancellation, wake);
        while (!storing_->outcome && !context_.cancellation.cancelled())
            co_await wait_until(storing_->wake, core::SteadyTime::max());
    }
    if (!storing_->outcome) co_return core::make_error(core::Errc::kCancelled, "The run was cancelled.");
    if (!*storing_->outcome) co_return *storing_->outcome;
    question_ = std::move(storing_->turns.back()); // others may have come before it
    std::string().swap(question_->messages);       // an answer may stream for long, and needs but its name
    storing_.reset();
    co_return core::Result<>();
}

void ConversationTurn::show_history() {
    turn_.messages = history_.messages();
    bytes_shown_ = 0;
    for (auto const& message : turn_.messages)
        bytes_shown_ += static_cast<std::int64_t>(message.json.size());
}

void ConversationTurn::let_go_of_history() noexcept {
    turn_.messages = {};
    asked_ = {};
    news_ = {};
    history_ = {};
}

core::Awaitable<void> ConversationTurn::settled() {
    while (storing_ && !storing_->outcome)
        co_await wait_until(storing_->wake, core::SteadyTime::max());
}

core::Task<> ConversationTurn::store_answer(AnswerRecord const& record, std::vector<LoopMessage> messages) {
    if (!question_) co_return core::Result<>();
    auto const stored_first = co_await stored(); // a run may end without a model
    if (!stored_first) co_return stored_first.error();
    StoredTurn answer;
    answer.kind = TurnKind::kAnswer;
    answer.parent = question_->id;
    answer.id = memory::answer_id(answer.parent, record.text(), record.calls());
    answer.depth = question_->depth + 1;
    answer.agent = agent_.config.agent_id;
    answer.asked_ms = ask_.now_ms;
    answer.idempotency_key = ask_.idempotency_key;
    answer.client_id = ask_.answer_id;
    answer.finish = record.finish();
    answer.model = record.model();
    answer.prompt_tokens = record.usage().prompt_tokens;
    answer.completion_tokens = record.usage().completion_tokens;
    if (messages.empty()) messages = record.messages();
    for (auto const& message : messages) {
        answer.messages += answer.messages.empty() ? "[" : ",";
        answer.messages += message.json;
    }
    answer.messages += answer.messages.empty() ? "[]" : "]";
    auto const patience = std::min(context_.deadline, steady_clock::now() + kAnswerPatience);
    // Waited for although the client has left: who asks again must find this answer, not one that is still being
    // written, or there are two of them.
    core::Cancellation never;
    core::Context const whole{never, context_.deadline, context_.request_id};
    for (Timer pause(executor_);;) {
        auto const done = co_await store_.answer(whole, ask_.key, answer, expires_ms_);
        if (done) { // or the conversation was erased meanwhile, and stays so
            context_use_ = ContextUse{ask_.key, record.last_prompt_tokens(), bytes_shown_};
            co_return core::Result<>();
        }
        bool const is_hopeful = done.error().code == core::Errc::kStoreUnavailable && steady_clock::now() < patience;
        if (!is_hopeful || context_.cancellation.cancelled()) co_return done.error();
        co_await wait_until(pause, steady_clock::now() + kAnswerPause);
    }
}

} // namespace parley::agents

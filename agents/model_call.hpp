// One model call of a run: asks the agent's candidates, and makes another attempt (attempt_plan.hpp) while nothing of
// the call has been handed up yet. A run without tools is one call; the tool loop makes one a round.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agents/attempt_plan.hpp"
#include "agents/catalogue.hpp"
#include "chat/run_event.hpp"
#include "chat/turn.hpp"
#include "core/context.hpp"
#include "core/task.hpp"

namespace parley::agents {

/// What the tool loop does to each of its rounds while it is read.
class RoundFilter {
public:
    virtual ~RoundFilter() = default;

    /// The turn as `candidate` is to be asked it. Valid as long as the call.
    virtual chat::Turn const& turn_for(Candidate const& candidate) = 0;

    /// Looks at the events from `from` on, takes out what the client must not see.
    virtual void take(std::vector<chat::RunEvent>& events, std::size_t from) = 0;

    /// Another candidate begins anew: forget what was taken.
    virtual void restart() = 0;
};

/// What must be done before anything of an answer may be read, while the model is already being asked.
class BeforeAnswer {
public:
    virtual ~BeforeAnswer() = default;
    virtual core::Task<> done() = 0;
};

class ModelCall {
public:
    /// All references outlive it; `agent` has at least one candidate.
    ModelCall(providers::Session& session, core::Context const& context, Agent const& agent,
              BeforeAnswer* before = nullptr)
        : session_(session), context_(context), agent_(agent), before_(before), plan_(agent.candidates) {}

    /// Like ModelStream::next: appends events, waits for some that a client can see; false = the call is complete.
    /// Errors: upstream faults of the last candidate tried, kCancelled, kDeadlineExceeded, kUnsupportedValue, those of
    /// BeforeAnswer.
    core::Task<bool> next(chat::Turn const& turn, std::vector<chat::RunEvent>& events, RoundFilter* filter = nullptr);

    /// The next call begins, with the candidate that answered this one.
    void begin_again() noexcept {
        stream_.reset();
        is_begun_ = false;
        reached_client_ = false;
    }

    /// Adds the tokens of a call. The filter calls it for a report that it takes out.
    void count(chat::Usage const& usage) noexcept {
        usage_ += usage;
        if (auto const& price = answered_by().price) cost_ += cost_of(*price, usage);
        last_prompt_ = usage.prompt_tokens;
        is_untold_ = false;
    }

    chat::Usage const& usage() const noexcept { return usage_; } // of all calls
    std::int64_t cost() const noexcept { return cost_; }         // of all calls with a price, millionths of a US dollar
    bool is_untold() const noexcept { return is_untold_; } // the last call: a model works or worked, and told no usage
    std::int64_t last_prompt_tokens() const noexcept { return last_prompt_; } // of the last call that told
    Candidate const& answered_by() const noexcept { return agent_.candidates[plan_.candidate()]; }

    /// An attempt that failed, and was followed by another one.
    struct Overcome {
        core::Error error;
        std::string_view agent_id; // whose model it was; lives as long as the agent
        AttemptPlan::Kind then;
    };
    std::vector<Overcome> const& overcome() const noexcept { return overcome_; } // over all calls

    /// How many attempts the calls took beyond one each, plus one: 1 = the first one answered each time; 0 = no model
    /// was asked.
    std::size_t attempts() const noexcept { return has_asked_ ? overcome_.size() + 1 : 0; }

    /// Something of this call was handed up: there will be no other attempt.
    bool reached_client() const noexcept { return reached_client_; }

private:
    core::Task<> prepare_another(core::Error const& error, RoundFilter* filter);
    core::Task<bool> attempt(chat::Turn const& turn, std::vector<chat::RunEvent>& events, RoundFilter* filter);
    void account(std::vector<chat::RunEvent>& events, std::size_t from);

    providers::Session& session_;
    core::Context const& context_;
    Agent const& agent_;
    BeforeAnswer* before_; // null: nothing, or it is done
    std::unique_ptr<providers::ModelStream> stream_;
    AttemptPlan plan_;
    bool is_begun_ = false;
    bool has_asked_ = false;
    bool reached_client_ = false;
    std::string model_; // of the last ModelReport, kept until there is something to show with it
    std::string system_fingerprint_;
    std::string service_tier_;
    bool model_pending_ = false;
    chat::Usage usage_;
    std::int64_t cost_ = 0;
    std::int64_t last_prompt_ = 0;
    bool is_untold_ = false;
    std::vector<Overcome> overcome_;
};

} // namespace parley::agents

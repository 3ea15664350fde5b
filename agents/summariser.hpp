// Shortens conversations that have become long: in the background, after an answer, a model writes a summary of the
// older part, which models are shown in its place from then on. Nothing that was said is deleted by it.
// One for each loop, used on it only.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "agents/catalogue.hpp"
#include "core/context.hpp"
#include "core/task.hpp"
#include "memory/conversation_store.hpp"

namespace parley::agents {

inline constexpr std::int64_t kBytesPerToken = 4; // where no provider has counted

/// How full a model's context was when it answered.
struct ContextUse {
    memory::ConversationKey key;
    std::int64_t prompt_tokens = 0; // as the provider counted them; 0 = it did not tell
    std::int64_t prompt_bytes = 0;  // of the messages that it was shown
};

/// How a summary went, for the log.
struct SummaryRecord {
    std::string_view agent_id; // whose conversation it is
    std::string_view session;
    std::string_view problem;       // why there is none, never in a provider's words; empty = there is one
    std::int64_t tokens_before = 0; // of the part that it stands for, estimated
    std::int64_t tokens_after = 0;
};

class Summariser {
public:
    /// All references outlive it. `told` may be empty.
    Summariser(providers::Session& session, memory::ConversationStore& store, core::Executor executor,
               std::function<void(SummaryRecord const&)> told);
    ~Summariser();
    Summariser(Summariser const&) = delete;
    Summariser& operator=(Summariser const&) = delete;

    /// Begins to write a summary if the context was fuller than the agent wants it. One at a time for a conversation.
    void consider(std::shared_ptr<Catalogue const> catalogue, Agent const& agent, ContextUse use);

private:
    struct State;
    static core::Awaitable<void> run(std::shared_ptr<State> state, std::shared_ptr<Catalogue const> catalogue,
                                     Agent const& agent, ContextUse use);

    std::shared_ptr<State> state_; // outlives this while one is being written
};

} // namespace parley::agents

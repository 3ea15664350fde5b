#include "agents/summariser.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>

#include <algorithm>
#include <set>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "agents/model_call.hpp"
#include "agents/model_history.hpp"
#include "core/json.hpp"

namespace parley::agents {
namespace {

namespace asio = boost::asio;
using memory::StoredTurn;
using memory::Summary;
using memory::TurnKind;

constexpr std::chrono::seconds kTimeMax{120};
constexpr std::size_t kSummaryBytesMax = 64U * 1024U; // a model that does not stop is cut
constexpr std::string_view kInstruction =
    "Summarise the conversation below, so that it can be continued without the original. At most 300 words, in the "
    "language of the conversation, under these headings: Topic; Decisions; Facts and technical details; Open points; "
    "What the user wants from here on. Keep names, numbers and identifiers exactly. Write the summary only.\n\n";

// The older part of a path: which turns go into the summary, and what one stands for already.
struct Part {
    Summary const* known = nullptr; // of what comes before `begin`
    std::size_t begin = 0;
    std::size_t end = 0;    // one behind
    std::int64_t bytes = 0; // of all that the new summary stands for
};

std::int64_t bytes_of(std::span<StoredTurn const> turns) {
    std::int64_t bytes = 0;
    for (auto const& turn : turns)
        bytes += static_cast<std::int64_t>(turn.messages.size());
    return bytes;
}

// Ends with an answer, so that what is left begins with a question. Nothing when too little has come since the last one
// to be worth a call.
Part part_of(memory::Path const& path, MemoryCompression const& compression) {
    auto const& turns = path.turns;
    Part part;
    auto const keep = static_cast<std::size_t>(compression.recent_messages_to_keep);
    if (turns.size() <= keep) return part;
    part.end = turns.size() - keep;
    while (part.end > 0 && turns[part.end - 1].kind != TurnKind::kAnswer)
        --part.end;
    for (std::size_t i = 0; i < part.end; ++i) {
        auto const found = std::ranges::find(path.summaries, turns[i].id, &Summary::turn);
        if (found == path.summaries.end()) continue;
        part.known = &*found;
        part.begin = i + 1;
    }
    part.bytes = bytes_of(std::span(turns).first(part.end));
    auto const fresh = bytes_of(std::span(turns).subspan(part.begin, part.end - part.begin));
    if (fresh * 4 < compression.threshold_tokens) part.end = part.begin; // a sixteenth of the threshold
    return part;
}

std::string question_of(std::span<StoredTurn const> turns, Summary const* known) {
    std::string text(kInstruction);
    if (known != nullptr) text += "Summary of what was said before:\n" + known->text + "\n\n";
    ModelHistory history;
    for (auto const& turn : turns)
        history.add_stored(turn, false);
    for (auto const& message : history.messages()) {
        text += chat::role_name(message.role);
        text += ": ";
        text += message.plain || message.content.starts_with('"')
                    ? core::json_body_to_text(core::strip_quotes(message.content))
                    : std::string(message.json);
        text += "\n\n";
    }
    return text;
}

core::Task<std::string> written_by(ModelCall& call, std::string question) {
    auto const asked = plain_message(chat::Role::kUser, boost::json::serialize(boost::json::string(question)));
    std::vector<chat::Message> const messages{asked.view()};
    chat::Turn turn;
    turn.messages = messages;
    std::string body; // of a JSON string
    for (auto more = true; more && body.size() < kSummaryBytesMax;) {
        std::vector<chat::RunEvent> events;
        auto const next = co_await call.next(turn, events);
        if (!next) co_return next.error();
        more = *next;
        for (auto const& event : events)
            if (auto const* const text = std::get_if<chat::TextDelta>(&event)) body += text->body;
    }
    co_return core::json_body_to_text(body);
}

} // namespace

struct Summariser::State {
    State(providers::Session& with, memory::ConversationStore& where, core::Executor on,
          std::function<void(SummaryRecord const&)> to)
        : session(with), store(where), executor(std::move(on)), told(std::move(to)) {}

    providers::Session& session;
    memory::ConversationStore& store;
    core::Executor executor;
    std::function<void(SummaryRecord const&)> told;
    core::Cancellation cancellation;
    std::set<std::string> under_way; // tenant, principal and session
};

Summariser::Summariser(providers::Session& session, memory::ConversationStore& store, core::Executor executor,
                       std::function<void(SummaryRecord const&)> told)
    : state_(std::make_shared<State>(session, store, std::move(executor), std::move(told))) {}

Summariser::~Summariser() {
    state_->cancellation.cancel();
}

void Summariser::consider(std::shared_ptr<Catalogue const> catalogue, Agent const& agent, ContextUse use) {
    auto const& compression = agent.config.compression;
    auto const tokens = use.prompt_tokens > 0 ? use.prompt_tokens : use.prompt_bytes / kBytesPerToken;
    if (!compression.enabled || tokens <= compression.threshold_tokens) return;
    auto name = use.key.tenant + '\n' + use.key.principal + '\n' + use.key.session;
    if (!state_->under_way.insert(name).second) return;
    auto ended = [state = state_, name = std::move(name)](std::exception_ptr) { state->under_way.erase(name); };
    asio::co_spawn(state_->executor, run(state_, std::move(catalogue), agent, std::move(use)), std::move(ended));
}

core::Awaitable<void> Summariser::run(std::shared_ptr<State> state, std::shared_ptr<Catalogue const> catalogue,
                                      Agent const& agent, ContextUse use) {
    core::Context const context{state->cancellation, std::chrono::steady_clock::now() + kTimeMax, "summary"};
    auto const& compression = agent.config.compression;
    SummaryRecord record{agent.config.agent_id, use.key.session, {}};
    auto const tell = [&](std::string_view problem) {
        record.problem = problem;
        if (state->told) state->told(record);
    };
    auto const reason = [](core::Error const& error) {
        return core::is_in_our_words(error.code) ? std::string_view(error.message) : core::code_name(error.code);
    };
    auto const path = co_await state->store.path(context, use.key);
    if (!path) co_return tell(reason(path.error()));
    auto const part = part_of(*path, compression);
    if (part.begin == part.end) co_return;
    auto const* const writer = compression.summary_agent.empty() ? &agent : catalogue->find(compression.summary_agent);
    if (writer == nullptr || writer->candidates.empty())
        co_return tell("the agent that writes summaries is not available");
    auto const turns = std::span(path->turns).subspan(part.begin, part.end - part.begin);
    ModelCall call(state->session, context, *writer);
    auto const text = co_await written_by(call, question_of(turns, part.known));
    if (!text) co_return tell(reason(text.error()));
    if (text->empty()) co_return tell("the model wrote nothing");
    // What the provider counted tells how long a token is in this conversation.
    auto const calibrated = use.prompt_tokens > 0 && use.prompt_bytes > 0;
    record.tokens_before = calibrated ? part.bytes * use.prompt_tokens / use.prompt_bytes : part.bytes / kBytesPerToken;
    record.tokens_after = static_cast<std::int64_t>(text->size()) / kBytesPerToken;
    Summary summary{turns.back().id, *text, agent.config.agent_id, record.tokens_before};
    auto const kept = co_await state->store.summarise(context, use.key, std::move(summary));
    if (!kept) co_return tell(reason(kept.error()));
    if (*kept) tell({}); // else the conversation was erased meanwhile
}

} // namespace parley::agents

// POST /v1/chat/completions, second half: from a job (chat_prepare.cpp) to the client's bytes.
// Member functions of the loop's Gateway; what waits here lives as long as the stream.
#include <utility>
#include <variant>
#include <vector>

#include "agents/given_answer.hpp"
#include "agents/run.hpp"
#include "server/chat_job.hpp"
#include "server/chat_writer.hpp"
#include "server/gateway.hpp"
#include "server/stored_answer.hpp"

namespace parley::server {
namespace {

using std::chrono::steady_clock;

std::string_view attempt_name(agents::AttemptPlan::Kind kind) {
    switch (kind) {
        case agents::AttemptPlan::Kind::kEndpoint:
            return "endpoint";
        case agents::AttemptPlan::Kind::kFallback:
            return "fallback";
        case agents::AttemptPlan::Kind::kRetry:
            return "retry";
    }
    return "retry";
}

} // namespace

core::Awaitable<void> Gateway::chat(net::Request& request, net::Exchange& exchange, RequestState& state) {
    auto prepared = co_await prepare_chat(request, exchange, state);
    if (!prepared) co_return fail(exchange, state, prepared.error());
    auto const job = std::move(*prepared);
    if (!job) co_return;       // answered without a run
    std::exception_ptr thrown; // what was set aside is settled all the same
    try {
        co_await (job->ask ? run_remembered(*job, exchange, state) : run_chat(*job, nullptr, exchange, state));
    } catch (...) {
        thrown = std::current_exception();
    }
    if (job->reservation) co_await settle(*job->reservation, state, exchange.client_gone());
    if (thrown) std::rethrow_exception(thrown);
}

std::string Gateway::owner_of(RequestState const& state) {
    return state.user_id.empty() ? std::string(state.principal) : user_principal(state.user_id);
}

core::Awaitable<void> Gateway::run_remembered(ChatJob& job, net::Exchange& exchange, RequestState& state) {
    job.ask->key.principal = owner_of(state);
    state.conversation = job.ask->key.session;
    agents::ConversationTurn conversation(conversations_, job.context, job.agent, job.turn, std::move(*job.ask),
                                          loop_.executor());
    auto const recalled = co_await conversation.recall();
    if (!recalled) co_return fail(exchange, state, recalled.error());
    if (auto const* const given = conversation.given_before()) {
        auto told = agents::given_answer(*given);
        StoredAnswer stored{job.reply.head, std::move(told.events), nullptr, std::move(told.made)};
        stored.head.created = given->created_ms / 1000;
        job.reply.kept.reset(); // the store has the answer: whoever asks next need not wait until this one is out
        co_return co_await replay(std::move(stored), job.reply, exchange, state);
    }
    co_await run_chat(job, &conversation, exchange, state);
    co_await conversation.settled();
    if (auto const& use = conversation.context_use()) summariser_.consider(job.catalogue, job.agent, *use);
}

core::Awaitable<void> Gateway::run_chat(ChatJob& job, agents::ConversationTurn* conversation, net::Exchange& exchange,
                                        RequestState& state) {
    auto const run = make_run(job, conversation, state);
    co_await (job.reply.stream ? stream_run(*run, job, exchange, state) : collect_run(*run, job, exchange, state));
    state.answered_by = run->answered_by().agent_id;
    state.usage = run->usage();
    state.is_usage_untold = run->is_untold();
    state.model_asked = run->attempts() != 0;
    state.cost = run->cost();
    for (auto const& [error, failed, then] : run->overcome()) {
        auto const what = attempt_name(then);
        metrics_.count_attempt(state.agent, what);
        auto line = loop_.log().warn(what);
        line.add("request_id", state.request_id)
            .add("agent", state.agent)
            .add("after", failed)
            .add("error", core::code_name(error.code));
        if (error.upstream_status != 0) line.add("upstream_status", error.upstream_status);
        if (core::is_in_our_words(error.code)) line.add("reason", error.message);
    }
}

void Gateway::mark_first_token(RequestState& state) {
    if (state.first_token) return;
    state.first_token = steady_clock::now();
    metrics_.first_token.observe_seconds(std::chrono::duration<double>(*state.first_token - state.started).count());
}

// Counted as they end, so that a run that fails later still shows what it did.
void Gateway::note_tools(RequestState& state, std::span<chat::RunEvent const> events) {
    for (auto const& event : events) {
        if (auto const* const ended = std::get_if<chat::ToolEnded>(&event)) {
            ++state.tool_calls;
            metrics_.count_tool_call(ended->is_error, ended->duration_ms);
        } else if (auto const* const report = std::get_if<chat::UsageReport>(&event); report && report->agent) {
            state.agent_usage = report->agent;
        }
    }
}

void Gateway::begin_stream(net::Exchange& exchange, RequestState& state) {
    if (exchange.stream_started()) return;
    net::Response response{200, {}, "text/event-stream; charset=utf-8", {}, false};
    response.headers = {{"cache-control", "no-cache"}, {"x-accel-buffering", "no"}};
    state.status = response.status;
    decorate(response, state);
    exchange.start_stream(std::move(response), ": keep-alive\n\n");
}

void Gateway::end_failed(ChatStreamWriter& writer, core::Error const& error, net::Exchange& exchange,
                         RequestState& state, std::string& out) {
    auto const told = told_error(error, exchange);
    note(state, told);
    writer.fail(told, out);
}

core::Awaitable<void> Gateway::stream_run(agents::Run& run, ChatJob& job, net::Exchange& exchange,
                                          RequestState& state) {
    auto& reply = job.reply;
    ChatStreamWriter writer(reply.head);
    std::vector<chat::RunEvent> events;
    std::string out;
    // A model that thinks for long must not look dead: after a while the stream begins with comments alone.
    net::OnDeadline commit(loop_, [&] { begin_stream(exchange, state); });
    commit.after(shared_.commit_stream_after);
    auto reading = true;
    while (reading) {
        events.clear();
        out.clear();
        auto const more = co_await run.next(events);
        reading = more && *more;
        state.attempts = run.attempts();
        note_tools(state, events);
        writer.write(events, out);
        if (reply.kept) reply.kept->write(events);
        if (!out.empty()) mark_first_token(state);
        if (!run.reads_turn()) job.request.reset(); // the history may be large, and the stream long
        if (reading && out.empty()) continue;       // tools that are not shown: an error may still be a plain one
        if (!more && out.empty() && !exchange.stream_started()) co_return fail(exchange, state, more.error());
        if (!more) {
            end_failed(writer, more.error(), exchange, state, out);
        } else if (!reading) {
            if (reply.kept) co_await keep_answer(*reply.kept, state);
            writer.finish(out);
        }
        commit.never();
        begin_stream(exchange, state);
        auto const taken = co_await exchange.write(out);
        if (!taken) break;
    }
    exchange.finish();
    auto& ended = exchange.client_gone()     ? metrics_.streams_abandoned
                  : state.error_code.empty() ? metrics_.streams_complete
                                             : metrics_.streams_failed;
    ended.add();
}

core::Awaitable<void> Gateway::collect_run(agents::Run& run, ChatJob& job, net::Exchange& exchange,
                                           RequestState& state) {
    auto& reply = job.reply;
    ChatJsonWriter writer(reply.head);
    std::vector<chat::RunEvent> events;
    auto reading = true;
    while (reading) {
        events.clear();
        auto const more = co_await run.next(events);
        state.attempts = run.attempts();
        note_tools(state, events);
        if (!more) co_return fail(exchange, state, more.error());
        if (!events.empty()) mark_first_token(state);
        writer.write(events);
        if (reply.kept) reply.kept->write(events);
        reading = *more;
    }
    if (reply.kept) co_await keep_answer(*reply.kept, state);
    net::Response response;
    writer.finish(response.body);
    answer(exchange, state, std::move(response));
}

} // namespace parley::server

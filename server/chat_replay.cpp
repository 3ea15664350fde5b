// Answers that are there whole before the first byte goes out: those of requests with an Idempotency-Key (who may
// answer, what is kept, how it is sent again), and those to a client's background tasks.
// Member functions of the loop's Gateway.
#include <utility>

#include "server/gateway.hpp"
#include "server/idempotency.hpp"
#include "server/stored_answer.hpp"

namespace parley::server {

core::Task<IdempotencyStore::Found> Gateway::claim_answer(net::RequestHead const& head, ChatRequest const& request,
                                                          net::Exchange& exchange, RequestState const& state) {
    auto const key = idempotency_key(head);
    if (!key) co_return key.error();
    core::Context const context{exchange.cancellation(), core::SteadyTime::max(), std::string(state.request_id)};
    IdempotencyKey whose{owner_of(state), std::string(all_routes()[state.route].path), std::string(*key)};
    auto const fingerprint = request_fingerprint(request, head, shared_.session_headers);
    auto found = co_await shared_.idempotency->claim(context, std::move(whose), fingerprint);
    if (!found) co_return found.error();
    metrics_.count_idempotent(found->state);
    if (!found->claim && !found->answer) co_return idempotency_error(found->state);
    co_return found;
}

// An answer that could not be kept is still an answer.
core::Awaitable<void> Gateway::keep_answer(KeptAnswer& kept, RequestState const& state) {
    auto const done = co_await kept.complete();
    if (done) co_return;
    loop_.log()
        .warn("answer_not_kept")
        .add("request_id", state.request_id)
        .add("error", core::code_name(done.error().code))
        .add("reason", done.error().message);
}

core::Awaitable<void> Gateway::replay(StoredAnswer stored, ChatReply& reply, net::Exchange& exchange,
                                      RequestState& state) {
    state.replayed = true;
    reply.head.id = stored.head.id;
    reply.head.created = stored.head.created;
    reply.head.model = stored.head.model;
    reply.head.choices = stored.head.choices;
    co_await send_whole(std::move(stored), reply, exchange, state);
}

core::Awaitable<void> Gateway::send_whole(StoredAnswer whole, ChatReply& reply, net::Exchange& exchange,
                                          RequestState& state) {
    if (!reply.stream) {
        ChatJsonWriter writer(std::move(reply.head));
        writer.write(whole.events);
        net::Response response;
        writer.finish(response.body);
        co_return answer(exchange, state, std::move(response));
    }
    ChatStreamWriter writer(reply.head);
    std::string out;
    writer.write(whole.events, out);
    writer.finish(out);
    begin_stream(exchange, state);
    auto const taken = co_await exchange.write(out);
    exchange.finish();
    (taken ? metrics_.streams_complete : metrics_.streams_abandoned).add();
}

} // namespace parley::server

// Requests with an Idempotency-Key: who may answer, what is kept, and how it is sent again.
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
    core::Context const context{exchange.cancellation(), core::SteadyTime::max(), state.request_id};
    IdempotencyKey whose{owner_of(state), std::string(all_routes()[state.route].path), std::string(*key)};
    auto const fingerprint = request_fingerprint(request, head);
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
    auto head = std::move(reply.head);
    head.id = stored.head.id;
    head.created = stored.head.created;
    head.model = stored.head.model;
    head.choices = stored.head.choices;
    if (!reply.stream) {
        ChatJsonWriter writer(std::move(head));
        writer.write(stored.events);
        net::Response response;
        writer.finish(response.body);
        co_return answer(exchange, state, std::move(response));
    }
    ChatStreamWriter writer(std::move(head));
    std::string out;
    writer.write(stored.events, out);
    writer.finish(out);
    begin_stream(exchange, state);
    auto const taken = co_await exchange.write(out);
    exchange.finish();
    (taken ? metrics_.streams_complete : metrics_.streams_abandoned).add();
}

} // namespace parley::server

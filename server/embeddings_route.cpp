// POST /v1/embeddings: passed through to the provider that serves the model.
#include <boost/json/stream_parser.hpp>
#include <boost/json/value.hpp>

#include <cstdint>
#include <limits>
#include <utility>

#include "chat/destination_fields.hpp"
#include "core/json.hpp"
#include "core/json_object.hpp"
#include "server/chat_request_checks.hpp"
#include "server/embeddings_request.hpp"
#include "server/gateway.hpp"
#include "server/large_body.hpp"

namespace parley::server {
namespace {

constexpr std::size_t kDepthMax = 16;

// Checks a member that we know.
core::Result<> check(std::string_view name, std::string_view json) {
    constexpr std::string_view formats[] = {"float", "base64"};
    Path const path{nullptr, name};
    if (name == "model") return check_string(path, json, {1});
    if (name == "input") {
        if (!is_string(json) && !is_array(json)) return invalid_type(path, "a string or an array", json);
        if (is_array(json) && json.find_first_not_of(" \t\r\n", 1) == json.size() - 1)
            return invalid_value(path, "expected at least one text");
    }
    if (is_null(json)) return {};
    if (name == "encoding_format") return check_choice(path, json, formats);
    if (name == "dimensions") {
        auto const read = read_integer(path, json, 1, std::numeric_limits<std::int32_t>::max());
        if (!read) return read.error();
    }
    return {};
}

// What the provider says that it read.
std::optional<chat::Usage> usage_in(std::string_view answer) {
    constexpr std::string_view name = "\"usage\"";
    auto const at = answer.rfind(name);
    auto const colon = at == std::string_view::npos ? at : answer.find(':', at + name.size());
    if (colon == std::string_view::npos) return std::nullopt;
    auto const text = answer.substr(colon + 1);
    boost::system::error_code bad;
    boost::json::stream_parser parser;
    parser.write_some(text.data(), text.size(), bad); // stops behind the value
    if (bad || !parser.done()) return std::nullopt;
    auto const value = parser.release();
    auto const* const tokens = value.is_object() ? value.get_object().if_contains("prompt_tokens") : nullptr;
    if (!tokens || !tokens->is_int64()) return std::nullopt;
    chat::Usage usage;
    usage.prompt_tokens = tokens->get_int64();
    return usage;
}

} // namespace

core::Result<EmbeddingsRequest> parse_embeddings_request(std::string body) {
    body.reserve(body.size() + core::kJsonPadding);
    core::CheckedObject object;
    auto const sound = object.check(body, body.capacity(), kDepthMax);
    if (!sound) return unreadable_body(body, sound.error(), kDepthMax);
    EmbeddingsRequest request;
    auto has_model = false;
    auto has_input = false;
    for (auto const& member : object.members()) {
        auto const name = core::json_body_to_text(member.key); // a key that is written with escapes is the same key
        auto const checked = check(name, member.json);
        if (!checked) return checked.error();
        has_model = has_model || name == "model";
        has_input = has_input || name == "input";
        if (name == "model") request.model = string_text(member.json);
        if (name == "model" || chat::is_destination_field(name)) continue;
        if (!request.rest.empty()) request.rest += ',';
        core::append_json_string(request.rest, name);
        request.rest += ':';
        request.rest += member.json; // as it was sent: numbers stay what they are
    }
    if (!has_model) return missing_parameter(Path{nullptr, "model"});
    if (!has_input) return missing_parameter(Path{nullptr, "input"});
    return request;
}

core::Awaitable<void> Gateway::embeddings(net::Request& request, net::Exchange& exchange, RequestState& state) {
    auto const catalogue = catalogue_;
    auto read = [&request] { return parse_embeddings_request(std::move(request.body)); };
    core::Result<EmbeddingsRequest> parsed;
    if (is_large(request)) {
        parsed = co_await read_beside(loop_, *shared_.readers, read);
    } else {
        parsed = read();
    }
    if (!parsed) co_return fail(exchange, state, parsed.error());
    if (state.key && !state.key->may_use_agent(parsed->model))
        co_return fail(exchange, state, agents::model_not_found(parsed->model));
    auto const target = catalogue->embedding_target(parsed->model);
    if (!target) co_return fail(exchange, state, target.error());
    core::Context const context{exchange.cancellation(), core::SteadyTime::max(), std::string(state.request_id)};
    std::optional<policy::Reservation> reservation;
    if (state.key && state.key->limits.any()) {
        chat::Usage estimate;
        estimate.prompt_tokens = tokens_in(parsed->rest.size());
        std::vector<PricedModel> models{{target->provider->name(), target->model, target->price}};
        auto reserved = co_await reserve(estimate, std::move(models), context, state);
        if (!reserved) co_return fail(exchange, state, reserved.error());
        reservation = std::move(*reserved);
    }
    state.model_asked = true;
    auto answered = co_await target->provider->embed(session_, context, target->model, parsed->rest);
    if (answered) {
        state.usage = usage_in(*answered);
        if (state.usage && target->price) state.cost = agents::cost_of(*target->price, *state.usage);
        net::Response response;
        response.body = std::move(*answered);
        answer(exchange, state, std::move(response));
    } else {
        fail(exchange, state, answered.error());
    }
    if (reservation) co_await settle(*reservation, state, exchange.client_gone());
}

} // namespace parley::server

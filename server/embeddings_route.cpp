// POST /v1/embeddings: passed through to the provider that serves the model.
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <utility>

#include "core/json.hpp"
#include "server/embeddings_request.hpp"
#include "server/gateway.hpp"
#include "server/large_body.hpp"
#include "server/never_forwarded.hpp"

namespace parley::server {
namespace {

constexpr std::size_t kDepthMax = 16;

core::Error wrong(core::Errc code, std::string message, std::string param) {
    return core::make_error(code, std::move(message), std::move(param));
}

// What the provider says that it read.
std::optional<chat::Usage> usage_in(std::string_view answer) {
    auto const at = answer.rfind("\"usage\"");
    if (at == std::string_view::npos) return std::nullopt;
    boost::system::error_code bad;
    auto const text = answer.substr(answer.find('{', at), answer.find('}', at) - answer.find('{', at) + 1);
    auto const value = boost::json::parse({text.data(), text.size()}, bad);
    auto const* const tokens = !bad && value.is_object() ? value.get_object().if_contains("prompt_tokens") : nullptr;
    if (!tokens || !tokens->is_int64()) return std::nullopt;
    chat::Usage usage;
    usage.prompt_tokens = tokens->get_int64();
    return usage;
}

} // namespace

core::Result<EmbeddingsRequest> parse_embeddings_request(std::string const& body) {
    auto const sound = core::check_json(body, kDepthMax);
    if (!sound) return sound.error();
    boost::system::error_code bad;
    auto const value = boost::json::parse(body, bad);
    auto const* const object = bad ? nullptr : value.if_object();
    if (!object) return wrong(core::Errc::kInvalidJson, "The request body must be a JSON object.", {});
    auto const* const model = object->if_contains("model");
    if (!model) return wrong(core::Errc::kMissingParameter, "Missing required parameter: 'model'.", "model");
    if (!model->is_string())
        return wrong(core::Errc::kInvalidType, "Invalid type for 'model': expected a string.", "model");
    auto const* const input = object->if_contains("input");
    if (!input) return wrong(core::Errc::kMissingParameter, "Missing required parameter: 'input'.", "input");
    if (!input->is_string() && !input->is_array()) {
        return wrong(core::Errc::kInvalidType, "Invalid type for 'input': expected a string or an array.", "input");
    }
    if (input->is_array() && input->get_array().empty()) {
        return wrong(core::Errc::kInvalidValue, "Invalid 'input': expected at least one text.", "input");
    }
    auto const* const format = object->if_contains("encoding_format");
    if (format && !format->is_null() && *format != "float" && *format != "base64") {
        return wrong(core::Errc::kInvalidValue, "Invalid 'encoding_format': expected 'float' or 'base64'.",
                     "encoding_format");
    }
    auto const* const dimensions = object->if_contains("dimensions");
    if (dimensions && !dimensions->is_null() && (!dimensions->is_int64() || dimensions->get_int64() < 1)) {
        return wrong(core::Errc::kInvalidValue, "Invalid 'dimensions': expected a whole number of at least 1.",
                     "dimensions");
    }
    EmbeddingsRequest request;
    request.model.assign(model->get_string().data(), model->get_string().size());
    for (auto const& member : *object) {
        if (member.key() == "model" || is_never_forwarded({member.key().data(), member.key().size()})) continue;
        if (!request.rest.empty()) request.rest += ',';
        core::append_json_string(request.rest, std::string_view(member.key().data(), member.key().size()));
        request.rest += ':';
        request.rest += boost::json::serialize(member.value());
    }
    return request;
}

core::Awaitable<void> Gateway::embeddings(net::Request& request, net::Exchange& exchange, RequestState& state) {
    auto const catalogue = catalogue_;
    auto read = [&request] { return parse_embeddings_request(request.body); };
    auto const parsed = is_large(request) ? co_await read_beside(loop_, *shared_.readers, read) : read();
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

// What a server may ask of us, and what it is told: we are a gateway, and nobody sits in front of it. Everything is
// declined unless the configuration says otherwise. Source: specification, "Client Features".
#include <boost/json/array.hpp>

#include <utility>

#include "mcp/session.hpp"

namespace parley::mcp {
namespace {

namespace json = boost::json;

// The defaults that a form declares; what has none is left out.
json::object form_defaults(json::object const& params) {
    json::object content;
    auto const* const schema = object_in(params, "requestedSchema");
    auto const* const properties = schema ? object_in(*schema, "properties") : nullptr;
    if (!properties) return content;
    for (auto const& member : *properties) {
        auto const* const property = member.value().if_object();
        auto const* const value = property ? property->if_contains("default") : nullptr;
        if (value) content[member.key()] = *value;
    }
    return content;
}

constexpr int kSamplingMax = 8; // under way for one session: each costs the operator money

json::object declined() {
    return {{"action", "decline"}};
}

} // namespace

json::object Session::capabilities() const {
    json::object out;
    if (!spec_->roots.empty()) out["roots"] = modern_ ? json::object{} : json::object{{"listChanged", false}};
    if (spec_->elicitation == Elicitation::kDefaults) {
        out["elicitation"] = json::object{{"form", json::object{{"applyDefaults", true}}}};
    }
    if (is_sampling("sampling/createMessage")) out["sampling"] = json::object{};
    if (spec_->protocol_fixture) {
        out["roots"] = json::object{};
        out["sampling"] = json::object{};
    }
    return out;
}

json::object Session::client_meta() const {
    return {{std::string(kMetaVersion), version_.empty() ? kModernVersion : std::string_view(version_)},
            {std::string(kMetaCapabilities), capabilities()},
            {std::string(kMetaClientInfo), json::object{{"name", "parley"}, {"version", PARLEY_VERSION}}}};
}

core::Result<json::object> Session::answer_to(std::string_view method, json::object const& params) const {
    if (method == "ping") return json::object{};
    if (method == "roots/list" && capabilities().contains("roots")) {
        json::array roots;
        for (auto const& uri : spec_->roots)
            roots.push_back(json::object{{"uri", uri}});
        return json::object{{"roots", std::move(roots)}};
    }
    if (method == "elicitation/create") {
        auto const is_form = text_in(params, "mode").empty() || text_in(params, "mode") == "form";
        if (spec_->elicitation != Elicitation::kDefaults || !is_form) return declined();
        return json::object{{"action", "accept"}, {"content", form_defaults(params)}};
    }
    if (method == "sampling/createMessage" && spec_->protocol_fixture) {
        return json::object{{"role", "assistant"},
                            {"content", json::object{{"type", "text"}, {"text", "This is a sampled answer."}}},
                            {"model", "parley"},
                            {"stopReason", "endTurn"}};
    }
    return core::make_error(core::Errc::kUpstreamRejected, "The server asks for '" + plain_text(method, 60) +
                                                               "', which is not offered to servers here.");
}

bool Session::is_sampling(std::string_view method) const noexcept {
    return method == "sampling/createMessage" && parts_.sampler != nullptr && !spec_->sampling.empty();
}

core::Task<json::object> Session::sample(core::Context const& context, json::object params) {
    if (sampling_ >= kSamplingMax)
        co_return core::make_error(core::Errc::kInvalidValue, "Too many sampling requests are under way.");
    ++sampling_;
    auto result = co_await parts_.sampler->create_message(context, *spec_, std::move(params));
    --sampling_;
    if (!result) {
        parts_.loop.log()
            .warn("mcp_sampling_failed")
            .add("server", spec_->label)
            .add("agent", spec_->sampling)
            .add("reason", result.error().message);
        auto const code = result.error().code;
        auto const told = code == core::Errc::kInvalidValue || code == core::Errc::kCancelled;
        if (!told) co_return core::make_error(core::Errc::kUpstreamFailed, "The model could not be asked.");
    }
    co_return result;
}

void Session::answer(Message const& message) {
    if (is_sampling(message.method)) {
        tasks_.spawn(answer_sampling(message));
    } else {
        send_answer(message.id, answer_to(message.method, message.params));
    }
}

core::Awaitable<void> Session::answer_sampling(Message message) {
    core::Context const context{life_, std::chrono::steady_clock::now() + spec_->call_timeout};
    auto const result = co_await sample(context, std::move(message.params));
    if (!lost_) send_answer(message.id, result);
}

void Session::send_answer(json::value const& id, core::Result<json::object> const& result) {
    auto text = std::string();
    if (result) {
        text = make_response(id, *result);
    } else if (result.error().code == core::Errc::kUpstreamRejected) {
        text = make_error_response(id, kMethodNotFound, "Not offered by this client.");
    } else if (result.error().code == core::Errc::kInvalidValue) {
        text = make_error_response(id, kInvalidParams, result.error().message);
    } else {
        text = make_error_response(id, kInternalError, result.error().message);
    }
    channel_->send({std::move(text), std::nullopt, caller_headers(*spec_, starter_)});
}

} // namespace parley::mcp

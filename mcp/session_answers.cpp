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

void Session::answer(Message const& message) {
    auto const result = answer_to(message.method, message.params);
    channel_->send({result ? make_response(message.id, *result)
                           : make_error_response(message.id, kMethodNotFound, "Not offered by this client."),
                    std::nullopt, caller_headers(*spec_, starter_)});
}

} // namespace parley::mcp

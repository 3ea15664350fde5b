// What a provider's error means, in our own list of errors: shared by every dialect.
// Pure functions over an answer's status and body (any shape: OpenAI, Azure, OpenRouter, vLLM, Ollama, HTML, empty).
// Called on the loop of the model call, only when something has gone wrong: not a hot path.
#include "providers/provider_error.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <utility>

#include "core/json.hpp"
#include "providers/provider_wait.hpp"

namespace parley::providers {

namespace {

namespace json = boost::json;
using core::Errc;

constexpr std::size_t kErrorBodyBytesMax = 256 * 1024; // more than any provider says; the rest is not looked at
constexpr std::size_t kDetailBytesMax = 500;
constexpr std::size_t kDepthMax = 32;

// Member by member: the order of the members differs between Boost 1.81 and 1.83.
json::parse_options bounded() {
    json::parse_options options;
    options.max_depth = kDepthMax;
    return options;
}

/// What an error body says, whatever its shape.
struct Facts {
    std::string message;
    std::string param;
    std::array<std::string, 5> names{}; // code, type, inner code, error_type, status: each may be empty
    int status = 0;                     // an HTTP status stated inside the body

    bool named(std::initializer_list<std::string_view> any) const {
        return std::any_of(names.begin(), names.end(), [&](std::string const& name) {
            return !name.empty() && std::find(any.begin(), any.end(), std::string_view(name)) != any.end();
        });
    }
    bool says(std::initializer_list<std::string_view> any) const {
        return std::any_of(any.begin(), any.end(),
                           [&](std::string_view part) { return message.find(part) != std::string::npos; });
    }
};

std::string text_member(json::object const& object, std::string_view name) {
    json::value const* value = object.if_contains(name);
    json::string const* text = value ? value->if_string() : nullptr;
    return text ? std::string(text->data(), text->size()) : std::string{};
}

json::object const* object_member(json::object const& object, std::string_view name) {
    json::value const* value = object.if_contains(name);
    return value ? value->if_object() : nullptr;
}

/// A code may be a name, a number (OpenRouter, vLLM) or a number in a string (Azure).
void read_code(json::value const& value, std::string& name, int& status) {
    std::int64_t number = 0;
    if (json::string const* text = value.if_string()) {
        name.assign(text->data(), text->size());
        std::from_chars(name.data(), name.data() + name.size(), number);
    } else if (std::int64_t const* integer = value.if_int64()) {
        number = *integer;
    }
    if (number >= 300 && number <= 599) status = static_cast<int>(number);
}

void read_facts(json::value const& value, Facts& facts);

/// OpenRouter hides the real provider's words in metadata.raw, as text that may itself be JSON.
void read_metadata(json::object const& metadata, Facts& facts) {
    facts.names[3] = text_member(metadata, "error_type");
    std::string const raw = text_member(metadata, "raw");
    if (raw.empty()) return;
    Facts inner;
    json::error_code failed;
    json::value const parsed = json::parse(raw, failed, {}, bounded());
    if (!failed) read_facts(parsed, inner);
    std::string const& words = inner.message.empty() ? raw : inner.message;
    facts.message += facts.message.empty() ? words : ": " + words;
    if (facts.names[2].empty()) facts.names[2] = inner.names[0];
}

void read_error_object(json::object const& error, Facts& facts) {
    for (std::string_view const name : {"message", "detail", "msg", "error_description", "title"}) {
        if (facts.message.empty()) facts.message = text_member(error, name);
    }
    if (json::value const* detail = error.if_contains("detail");
        facts.message.empty() && detail && detail->is_array()) {
        json::array const& list = detail->get_array(); // FastAPI: [{"loc": […], "msg": "…"}]
        if (!list.empty() && list.front().is_object()) facts.message = text_member(list.front().get_object(), "msg");
    }
    std::string ignored;
    for (std::string_view const name : {"status", "statusCode", "status_code"}) {
        if (json::value const* status = error.if_contains(name))
            read_code(*status, name == "status" ? facts.names[4] : ignored, facts.status);
    }
    if (json::value const* code = error.if_contains("code")) read_code(*code, facts.names[0], facts.status);
    facts.names[1] = text_member(error, "type");
    facts.param = text_member(error, "param");
    if (json::object const* inner = object_member(error, "innererror")) facts.names[2] = text_member(*inner, "code");
    if (json::object const* metadata = object_member(error, "metadata")) read_metadata(*metadata, facts);
}

void read_facts(json::value const& value, Facts& facts) {
    if (json::string const* text = value.if_string()) {
        facts.message.assign(text->data(), text->size());
    } else if (json::array const* list = value.if_array()) { // Gemini: [{"error": {…}}]
        if (!list->empty() && !list->front().is_array()) read_facts(list->front(), facts);
    } else if (json::object const* object = value.if_object()) {
        json::value const* error = object->if_contains("error");
        if (error && error->is_object()) {
            read_error_object(error->get_object(), facts);
        } else {
            read_error_object(*object, facts);
            json::string const* words = error ? error->if_string() : nullptr;
            if (words && facts.message.empty()) facts.message.assign(words->data(), words->size());
        }
    }
}

bool looks_like_html(std::string_view body) {
    std::size_t const at = body.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
    return at != std::string_view::npos && body[at] == '<';
}

Facts facts_of_body(std::string_view body) {
    Facts facts;
    body = body.substr(0, kErrorBodyBytesMax);
    json::error_code failed;
    json::value const parsed = json::parse(json::string_view(body.data(), body.size()), failed, {}, bounded());
    if (!failed) {
        read_facts(parsed, facts);
    } else if (body.size() <= kDetailBytesMax && !looks_like_html(body)) {
        facts.message = body; // a proxy's plain sentence
    }
    return facts;
}

Errc classify(int status, Facts const& facts) {
    bool const request_fault = status == 0 || status == 400 || status == 413 || status == 422 || status == 500;
    if (status == 402 || facts.named({"insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached",
                                      "billing_not_active", "payment_required"})) {
        return Errc::kInsufficientQuota;
    }
    if (facts.named({"context_length_exceeded", "exceed_context_size_error"}) ||
        (request_fault && facts.says({"maximum context length", "context length exceeded", "context window",
                                      "available context size", "prompt is too long"}))) {
        return Errc::kContextLengthExceeded;
    }
    if (facts.named(
            {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation", "moderation_blocked"}) ||
        (status == 403 && facts.says({"flagged", "moderation"}))) {
        return Errc::kContentFilter;
    }
    if (status == 401 || status == 403 ||
        facts.named({"invalid_api_key", "authentication_error", "invalid_authentication_error"}) ||
        facts.says({"API key not valid"})) {
        return Errc::kUpstreamAuth;
    }
    if (facts.named({"server_is_overloaded", "overloaded_error", "provider_overloaded", "engine_overloaded_error"})) {
        return Errc::kUpstreamOverloaded;
    }
    if (status == 429 || facts.named({"rate_limit_exceeded", "rate_limit_error", "rate_limit_reached_error",
                                      "slow_down", "too_many_requests", "RESOURCE_EXHAUSTED"})) {
        return Errc::kRateLimited;
    }
    if (status == 503 || status == 529 ||
        facts.named({"service_unavailable", "service_unavailable_error", "provider_unavailable"})) {
        return Errc::kUpstreamOverloaded;
    }
    if (status == 408 || status == 504 || status == 524 || facts.named({"timeout", "request_timeout"})) {
        return Errc::kUpstreamTimeout;
    }
    if (status == 413) return Errc::kPayloadTooLarge;
    if (status >= 300 && status < 400) return Errc::kUpstreamInvalid;
    if (status >= 400 && status < 500) return Errc::kUpstreamRejected;
    if (status == 0 && facts.named({"invalid_request_error", "invalid_prompt"})) return Errc::kUpstreamRejected;
    return Errc::kUpstreamFailed;
}

/// What is said where the provider's words are missing or are not for the client.
std::string own_words(Errc code, int status) {
    std::string const http = status == 0 ? std::string{} : " (HTTP " + std::to_string(status) + ")";
    switch (code) {
        case Errc::kUpstreamAuth:
            return "The provider does not accept this gateway's credentials" + http +
                   ". The operator has to check the key of this provider.";
        case Errc::kInsufficientQuota:
            return "The account at the provider has no credit left" + http + ".";
        case Errc::kContextLengthExceeded:
            return "The conversation is longer than this model can read.";
        case Errc::kContentFilter:
            return "The provider's content policy refused the prompt.";
        case Errc::kRateLimited:
            return "The provider's rate limit is reached" + http + ". Try again later.";
        case Errc::kUpstreamOverloaded:
            return "The provider is overloaded" + http + ". Try again later.";
        case Errc::kUpstreamTimeout:
            return "The provider took too long" + http + ".";
        case Errc::kPayloadTooLarge:
            return "The request is larger than the provider accepts.";
        case Errc::kUpstreamInvalid:
            return "The provider redirected the request" + http +
                   ". Redirects are not followed: base_url must name the final address.";
        case Errc::kUpstreamRejected:
            if (status == 404) return "The provider has no such model or address (HTTP 404). Check base_url and model.";
            return "The provider refused the request" + http + ".";
        default:
            return "The provider failed" + http + ".";
    }
}

core::Error make(int status, Facts facts, std::string_view body) {
    core::Error error;
    error.code = classify(status, facts);
    error.upstream_status = status;
    error.detail = without_credentials(body, kDetailBytesMax);

    bool const hide = error.code == Errc::kUpstreamAuth || error.code == Errc::kUpstreamInvalid;
    if (status == 404 && facts.named({"DeploymentNotFound"})) {
        error.message =
            "The provider has no deployment of this name. Check `model` of the agent; a new deployment takes up to "
            "five minutes to answer.";
    } else if (hide || facts.message.empty()) {
        error.message = own_words(error.code, status);
    } else {
        error.message = without_credentials(facts.message, kProviderMessageBytesMax);
    }

    // A path into `messages` counts the agent's own messages too: to the client it would name the wrong one.
    if (!facts.param.starts_with("messages")) error.param = without_credentials(facts.param, 100);
    if (error.code == Errc::kContextLengthExceeded) error.param = "messages";
    if (error.code == Errc::kInsufficientQuota) error.should_retry = false;
    if (error.code == Errc::kRateLimited || error.code == Errc::kUpstreamOverloaded) {
        error.retry_after = wait_in_words(facts.message);
    }
    return error;
}

} // namespace

core::Error error_from_answer(ErrorAnswer const& answer) {
    core::Error error = make(answer.status, facts_of_body(answer.body), answer.body);
    if (auto const wait =
            parse_retry_after(answer.retry_after, answer.retry_after_ms, std::chrono::system_clock::now())) {
        error.retry_after = wait;
    }
    return error;
}

core::Error error_from_json(std::string_view json_text) {
    Facts facts = facts_of_body(json_text);
    int const status = facts.status;
    return make(status, std::move(facts), json_text);
}

core::Error error_from_code(std::string_view code, std::string_view message) {
    Facts facts;
    facts.message = message;
    read_code(json::value(json::string_view(code.data(), code.size())), facts.names[0], facts.status);
    int const status = facts.status;
    return make(status, std::move(facts), message);
}

core::Error error_unreadable(std::string_view what, std::string_view body) {
    std::string message = "The provider's answer cannot be read: ";
    message += looks_like_html(body) ? "it is a web page, not an API's answer. Check base_url." : std::string(what);
    return core::make_error(Errc::kUpstreamInvalid, std::move(message), {}, without_credentials(body, kDetailBytesMax));
}

core::Error error_truncated() {
    return core::make_error(Errc::kUpstreamTruncated, "The provider's answer stopped in the middle.");
}

} // namespace parley::providers

// The table of errors as the OpenAI API shows them. Sources: `Error` of the OpenAI spec; the status classes, and the
// headers x-should-retry, retry-after and retry-after-ms, as openai-node and openai-python read them.
#include "server/api_error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string_view>

#include "core/json.hpp"

namespace parley::server {
namespace {

using core::Errc;
using std::chrono::milliseconds;

struct Shape {
    int status = 500;
    std::string_view type = "server_error";
    std::optional<bool> should_retry = {};        // where the SDKs' guess by status (408, 409, 429, >= 500) is wrong
    std::optional<milliseconds> retry_after = {}; // where the error itself does not say
};

constexpr std::string_view kInvalidRequest = "invalid_request_error";
constexpr std::string_view kServer = "server_error";
constexpr std::string_view kUnavailable = "service_unavailable_error";
constexpr milliseconds kShortPause{1000};

// SDKs ignore a longer wait (openai-node 60 s, openai-python 120 s) and providers send absurd ones.
constexpr milliseconds kRetryAfterMax{std::chrono::hours{24}};

Shape shape_of(core::Error const& error) {
    switch (error.code) {
        case Errc::kInvalidJson:
        case Errc::kMissingParameter:
        case Errc::kInvalidType:
        case Errc::kInvalidValue:
        case Errc::kUnsupportedValue:
        case Errc::kContextLengthExceeded:
        case Errc::kContentFilter:
        case Errc::kToolNameConflict:
            return {400, kInvalidRequest};
        case Errc::kInvalidApiKey:
            return {401, kInvalidRequest};
        case Errc::kPermissionDenied:
            return {403, kInvalidRequest};
        case Errc::kModelNotFound:
        case Errc::kConversationNotFound:
        case Errc::kUnknownUrl:
            return {404, kInvalidRequest};
        case Errc::kMethodNotAllowed:
            return {405, kInvalidRequest};
        case Errc::kConflict:
            return {409, kInvalidRequest, false};
        case Errc::kRequestInProgress:
            return {409, kInvalidRequest, {}, kShortPause};
        case Errc::kIdempotencyKeyReused:
            return {400, "idempotency_error"}; // Stripe's name for it
        case Errc::kPayloadTooLarge:
            return {413, kInvalidRequest};
        case Errc::kUnsupportedMediaType:
            return {415, kInvalidRequest};
        case Errc::kRateLimited:
            return {429, "rate_limit_error", {}, kShortPause};
        case Errc::kInsufficientQuota:
            return {429, "insufficient_quota", false};
        case Errc::kUpstreamUnavailable:
        case Errc::kUpstreamTruncated:
        case Errc::kUpstreamInvalid:
        case Errc::kUpstreamFailed:
            return {502, kServer};
        case Errc::kUpstreamTls:
        case Errc::kUpstreamAuth: // both need an operator, not another attempt
            return {502, kServer, false};
        case Errc::kUpstreamRejected: // 400 and 422 speak of what the client sent, the rest of our set-up
            if (error.upstream_status == 400 || error.upstream_status == 422) return {400, kInvalidRequest};
            return {502, kServer, false};
        case Errc::kUpstreamOverloaded:
        case Errc::kStoreUnavailable:
        case Errc::kOverloaded:
        case Errc::kDraining:
            return {503, kUnavailable, {}, kShortPause};
        case Errc::kAgentUnavailable:
            return {503, kUnavailable, false};
        case Errc::kUpstreamTimeout:
            return {504, kServer};
        case Errc::kDeadlineExceeded: // the same run would take as long again
            return {504, kServer, false};
        case Errc::kCancelled:
            return {499, kServer, false};
        case Errc::kInternal:
            return {500, kServer};
    }
    return {};
}

std::optional<bool> should_retry(core::Error const& error) {
    return error.should_retry ? error.should_retry : shape_of(error).should_retry;
}

// Left open behind the four members that the specification has.
void append_error_members(std::string& out, core::Error const& error) {
    auto const code = core::code_name(error.code);
    out += R"({"error":{"message":)";
    core::append_json_string(out, error.message.empty() ? code : std::string_view(error.message));
    out += R"(,"type":")";
    out += shape_of(error).type;
    out += R"(","param":)";
    if (error.param.empty()) {
        out += "null";
    } else {
        core::append_json_string(out, error.param);
    }
    out += R"(,"code":")";
    out += code;
    out += '"';
}

} // namespace

void append_error_json(std::string& out, core::Error const& error) {
    append_error_members(out, error);
    out += "}}";
}

void append_stream_error_json(std::string& out, core::Error const& error) {
    append_error_members(out, error);
    if (auto const retry = should_retry(error)) out += *retry ? R"(,"should_retry":true)" : R"(,"should_retry":false)";
    out += "}}";
}

ApiError to_api_error(core::Error const& error) {
    auto const shape = shape_of(error);
    ApiError answer;
    answer.status = shape.status;
    append_error_json(answer.body, error);

    auto const retry = should_retry(error);
    if (retry) answer.headers.emplace_back("x-should-retry", *retry ? "true" : "false");
    auto const wait = error.retry_after ? error.retry_after : shape.retry_after;
    if (wait && retry != false) {
        auto const bounded = std::clamp(*wait, milliseconds{0}, kRetryAfterMax);
        auto const seconds = std::max(std::chrono::ceil<std::chrono::seconds>(bounded), std::chrono::seconds{1});
        answer.headers.emplace_back("retry-after", fmt::format("{}", seconds.count()));
        answer.headers.emplace_back("retry-after-ms", fmt::format("{}", bounded.count()));
    }
    if (shape.status == 401) answer.headers.emplace_back("www-authenticate", "Bearer"); // RFC 9110 §11.6.1
    return answer;
}

} // namespace parley::server

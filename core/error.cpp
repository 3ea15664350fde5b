// The names of errors, and which of them are worth another attempt.
// Pure functions, no state: callable from any loop.
#include "core/error.hpp"

#include <string_view>

namespace parley::core {

std::string_view code_name(Errc code) noexcept {
    switch (code) {
        case Errc::kInvalidJson:
            return "invalid_json";
        case Errc::kMissingParameter:
            return "missing_required_parameter";
        case Errc::kInvalidType:
            return "invalid_type";
        case Errc::kInvalidValue:
            return "invalid_value";
        case Errc::kUnsupportedValue:
            return "unsupported_value";
        case Errc::kContextLengthExceeded:
            return "context_length_exceeded";
        case Errc::kContentFilter:
            return "content_filter";
        case Errc::kInvalidApiKey:
            return "invalid_api_key";
        case Errc::kPermissionDenied:
            return "insufficient_permissions";
        case Errc::kModelNotFound:
            return "model_not_found";
        case Errc::kUnknownUrl:
            return "unknown_url";
        case Errc::kMethodNotAllowed:
            return "method_not_allowed";
        case Errc::kPayloadTooLarge:
            return "request_too_large";
        case Errc::kUnsupportedMediaType:
            return "unsupported_media_type";
        case Errc::kRateLimited:
            return "rate_limit_exceeded";
        case Errc::kInsufficientQuota:
            return "insufficient_quota";
        case Errc::kToolNameConflict:
            return "tool_name_conflict";
        case Errc::kConflict:
            return "request_in_progress";
        case Errc::kIdempotencyKeyReused:
            return "idempotency_key_reused";
        case Errc::kUpstreamUnavailable:
            return "upstream_unavailable";
        case Errc::kUpstreamTimeout:
            return "upstream_timeout";
        case Errc::kUpstreamTls:
            return "upstream_tls_error";
        case Errc::kUpstreamAuth:
            return "upstream_auth";
        case Errc::kUpstreamTruncated:
            return "upstream_truncated";
        case Errc::kUpstreamInvalid:
            return "upstream_invalid_response";
        case Errc::kUpstreamOverloaded:
            return "upstream_overloaded";
        case Errc::kUpstreamRejected:
            return "upstream_rejected";
        case Errc::kUpstreamFailed:
            return "upstream_error";
        case Errc::kAgentUnavailable:
            return "agent_unavailable";
        case Errc::kStoreUnavailable:
            return "store_unavailable";
        case Errc::kOverloaded:
            return "server_is_overloaded";
        case Errc::kDraining:
            return "server_draining";
        case Errc::kDeadlineExceeded:
            return "deadline_exceeded";
        case Errc::kCancelled:
            return "request_cancelled";
        case Errc::kInternal:
            return "internal_error";
    }
    return "internal_error";
}

bool is_retryable(Error const& error) noexcept {
    if (error.should_retry == false) return false; // e.g. a tool with side effects has run
    switch (error.code) {
        case Errc::kRateLimited:
        case Errc::kUpstreamUnavailable:
        case Errc::kUpstreamTimeout:
        case Errc::kUpstreamTls:
        case Errc::kUpstreamAuth:
        case Errc::kUpstreamTruncated:
        case Errc::kUpstreamInvalid:
        case Errc::kUpstreamOverloaded:
        case Errc::kUpstreamFailed:
        case Errc::kAgentUnavailable:
            return true;
        case Errc::kInsufficientQuota: // of the account at the provider: a fallback may have another one
            return error.upstream_status != 0;
        case Errc::kUpstreamRejected: // 400 and 422 speak of the request, the rest of our set-up at that provider
            return error.upstream_status != 400 && error.upstream_status != 422;
        default:
            return false;
    }
}

} // namespace parley::core

// The names of errors, and which of them are worth another attempt.
// Pure functions, no state: callable from any loop.
#include "core/error.hpp"

#include <array>
#include <cstddef>
#include <string_view>

namespace parley::core {

namespace {

struct Name {
    Errc code;
    std::string_view text;
};

// In the order of Errc, so that a name is found by its place.
constexpr auto kNames = std::to_array<Name>({
    {Errc::kInvalidJson, "invalid_json"},
    {Errc::kMissingParameter, "missing_required_parameter"},
    {Errc::kInvalidType, "invalid_type"},
    {Errc::kInvalidValue, "invalid_value"},
    {Errc::kUnsupportedValue, "unsupported_value"},
    {Errc::kContextLengthExceeded, "context_length_exceeded"},
    {Errc::kContentFilter, "content_filter"},
    {Errc::kInvalidApiKey, "invalid_api_key"},
    {Errc::kPermissionDenied, "insufficient_permissions"},
    {Errc::kModelNotFound, "model_not_found"},
    {Errc::kConversationNotFound, "conversation_not_found"},
    {Errc::kUnknownUrl, "unknown_url"},
    {Errc::kMethodNotAllowed, "method_not_allowed"},
    {Errc::kPayloadTooLarge, "request_too_large"},
    {Errc::kUnsupportedMediaType, "unsupported_media_type"},
    {Errc::kRateLimited, "rate_limit_exceeded"},
    {Errc::kInsufficientQuota, "insufficient_quota"},
    {Errc::kToolNameConflict, "tool_name_conflict"},
    {Errc::kConflict, "conflict"},
    {Errc::kRequestInProgress, "request_in_progress"},
    {Errc::kIdempotencyKeyReused, "idempotency_key_reused"},
    {Errc::kUpstreamUnavailable, "upstream_unavailable"},
    {Errc::kUpstreamTimeout, "upstream_timeout"},
    {Errc::kUpstreamTls, "upstream_tls_error"},
    {Errc::kUpstreamAuth, "upstream_auth"},
    {Errc::kUpstreamTruncated, "upstream_truncated"},
    {Errc::kUpstreamInvalid, "upstream_invalid_response"},
    {Errc::kUpstreamOverloaded, "upstream_overloaded"},
    {Errc::kUpstreamRejected, "upstream_rejected"},
    {Errc::kUpstreamFailed, "upstream_error"},
    {Errc::kAgentUnavailable, "agent_unavailable"},
    {Errc::kStoreUnavailable, "store_unavailable"},
    {Errc::kOverloaded, "server_is_overloaded"},
    {Errc::kDraining, "server_draining"},
    {Errc::kDeadlineExceeded, "deadline_exceeded"},
    {Errc::kCancelled, "request_cancelled"},
    {Errc::kInternal, "internal_error"},
});

constexpr bool is_complete() {
    for (std::size_t i = 0; i < kNames.size(); ++i)
        if (static_cast<std::size_t>(kNames[i].code) != i) return false;
    return kNames.size() == static_cast<std::size_t>(Errc::kInternal) + 1;
}
static_assert(is_complete(), "every Errc has its name, in its place");

} // namespace

std::string_view code_name(Errc code) noexcept {
    auto const place = static_cast<std::size_t>(code);
    return place < kNames.size() ? kNames[place].text : kNames.back().text;
}

bool is_in_our_words(Errc code) noexcept {
    switch (code) {
        case Errc::kUpstreamUnavailable:
        case Errc::kUpstreamTimeout:
        case Errc::kUpstreamTls:
        case Errc::kUpstreamTruncated:
        case Errc::kAgentUnavailable:
        case Errc::kStoreUnavailable:
        case Errc::kOverloaded:
        case Errc::kDraining:
        case Errc::kDeadlineExceeded:
        case Errc::kInternal:
            return true;
        default:
            return false;
    }
}

bool is_upstream_fault(Error const& error) noexcept {
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
            return true;
        case Errc::kInsufficientQuota: // of the account at the provider: a fallback may have another one
            return error.upstream_status != 0;
        default:
            return false;
    }
}

bool is_retryable(Error const& error) noexcept {
    if (error.should_retry == false) return false; // e.g. a tool with side effects has run
    if (error.code == Errc::kUpstreamRejected)     // 400 and 422 speak of the request, the rest of our set-up there
        return error.upstream_status != 400 && error.upstream_status != 422;
    return error.code == Errc::kAgentUnavailable || is_upstream_fault(error);
}

} // namespace parley::core

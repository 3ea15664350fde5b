// What can go wrong, as one closed list, and the value that carries it.
// An Error has three audiences: `code` for our own branches, `message` for the client, `detail` for the log.
// Plain data; built anywhere, read by server/api_error.cpp, which alone maps it to HTTP.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace parley::core {

enum class Errc : std::uint8_t {
    // The request is at fault.
    kInvalidJson,           // the body is not one JSON object
    kMissingParameter,      // a required field is absent
    kInvalidType,           // a field has the wrong JSON type
    kInvalidValue,          // right type, value out of range or not in the list
    kUnsupportedValue,      // valid at OpenAI, not possible here (e.g. n > 1 with tools)
    kContextLengthExceeded, // the prompt is longer than the model reads
    kContentFilter,         // a provider's content policy refused the prompt
    kInvalidApiKey,         // no key, or one we do not know
    kPermissionDenied,      // a known key that may not do this
    kModelNotFound,         // no agent of that name
    kConversationNotFound,  // the caller has no conversation of that name
    kUnknownUrl,            // no such route
    kMethodNotAllowed,      // a route, but not with this method
    kPayloadTooLarge,       // body above Limits::body_bytes_max
    kUnsupportedMediaType,  // Content-Type or Content-Encoding that we do not read
    kRateLimited,           // the client, or the provider on its behalf, is too fast
    kInsufficientQuota,     // a budget or an account is used up: retrying is pointless
    kToolNameConflict,      // the client's tool has the name of an agent's tool
    kConflict,              // what is there already, or was changed at the same time, forbids it
    kRequestInProgress,     // the same Idempotency-Key is being worked on
    kIdempotencyKeyReused,  // an Idempotency-Key that belongs to another request
    // A provider is at fault.
    kUpstreamUnavailable, // refused, reset, no route, name not found: nothing came back
    kUpstreamTimeout,     // connect, first byte, idle or total deadline
    kUpstreamTls,         // certificate or handshake
    kUpstreamAuth,        // the provider does not take our key: our trouble, never the client's
    kUpstreamTruncated,   // the answer stopped in the middle
    kUpstreamInvalid,     // an answer we cannot read
    kUpstreamOverloaded,  // the provider says it is busy
    kUpstreamRejected,    // the provider refused the request (4xx that is not one of the above)
    kUpstreamFailed,      // any other 5xx of a provider
    // We are at fault, or busy, or leaving.
    kAgentUnavailable, // configured, but a credential or a server it needs is missing
    kStoreUnavailable, // the conversation store cannot be reached, is full or busy: nothing was changed for certain
    kOverloaded,       // a limit of our own (concurrency, queue) is reached
    kDraining,         // shutting down
    kDeadlineExceeded, // the run's own wall-clock limit
    kCancelled,        // the client went away: nobody is left to be told
    kInternal,         // a bug of ours
};

struct Error {
    Errc code = Errc::kInternal;
    std::string message;                                       // for the client; never a secret
    std::string param = {};                                    // JSON path in the request, e.g. messages[1].content
    std::string detail = {};                                   // for the log only
    int upstream_status = 0;                                   // HTTP status of the provider, 0 = none
    std::optional<std::chrono::milliseconds> retry_after = {}; // how long the client should wait
    std::optional<bool> should_retry = {};                     // overrides the SDKs' own guess (x-should-retry)
};

/// The OpenAI `code` of an error, e.g. "model_not_found". Stable: clients branch on it.
std::string_view code_name(Errc code) noexcept;

/// Whether the message of such an error is ours alone. Others may quote a provider, which may quote a prompt: they are
/// for the client and no log.
bool is_in_our_words(Errc code) noexcept;

/// True for what is the fault of a provider or of the way to it, and may be otherwise elsewhere or later.
bool is_upstream_fault(Error const& error) noexcept;

/// True while another attempt (same provider or a fallback) could help and the client is still there.
bool is_retryable(Error const& error) noexcept;

} // namespace parley::core

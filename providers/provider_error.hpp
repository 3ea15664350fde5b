// What a provider's error means, in our own list of errors: shared by every dialect.
// Pure functions over an answer's status and body (any shape: OpenAI, Azure, OpenRouter, vLLM, Ollama, HTML, empty).
// Called on the loop of the model call, only when something has gone wrong: not a hot path.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.hpp"
#include "providers/dialect.hpp"

namespace parley::providers {

/// The longest wait that we pass on. The official SDKs ignore a longer one (openai-node: more than 60 s).
inline constexpr std::chrono::milliseconds kRetryAfterMax{60'000};

/// The most that is shown to a client of a provider's own words.
inline constexpr std::size_t kProviderMessageBytesMax = 2000;

/// A whole answer with an error status (3xx, 4xx, 5xx). Sets code, message, param, detail, upstream_status and
/// retry_after; should_retry only where retrying is known to be pointless. Credentials are taken out of all texts.
core::Error error_from_answer(ErrorAnswer const& answer);

/// An error that came inside a 200: a stream's `data: {"error":…}`, a JSON body `{"error":…}`, an NDJSON line.
/// `json` is either the whole object that holds `error`, or the value of `error` itself (an object or a string).
/// kUpstreamFailed unless the error says more.
core::Error error_from_json(std::string_view json);

/// The same from parts that a dialect already has: a code (e.g. "rate_limit_exceeded", "429"; may be empty) and text.
core::Error error_from_code(std::string_view code, std::string_view message);

/// kUpstreamInvalid for a 2xx whose body cannot be read. `what` says what was wrong; `body` is quoted in `detail`,
/// shortened and without credentials. HTML is recognised and said.
core::Error error_unreadable(std::string_view what, std::string_view body);

/// kUpstreamTruncated: the answer stopped in the middle.
core::Error error_truncated();

/// The wait asked for by `retry-after-ms` (milliseconds, may have a fraction) or else `retry-after` (seconds, may have
/// a fraction, or an HTTP date). Capped to kRetryAfterMax; a date in the past is 0; nullopt for what cannot be read.
std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view retry_after,
                                                           std::string_view retry_after_ms,
                                                           std::chrono::system_clock::time_point now);

/// `text` as valid UTF-8 without anything that looks like a key or a token, at most `bytes_max` long.
std::string without_credentials(std::string_view text, std::size_t bytes_max);

} // namespace parley::providers

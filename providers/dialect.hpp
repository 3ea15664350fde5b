// How one provider's API is spoken: pure translation, no I/O, so that every quirk is a fixture in tests/golden/.
// HttpProvider (http_provider.hpp) carries the bytes. Dialects are immutable and shared by all loops.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/run_event.hpp"
#include "chat/turn.hpp"
#include "core/result.hpp"
#include "providers/provider.hpp"

namespace parley::providers {

/// A request as the dialect wants it sent. `path` is appended to the provider's base_url path and may hold a query.
/// Credentials and configured headers are added by HttpProvider, not here.
struct EncodedRequest {
    std::string path;            // e.g. /chat/completions
    std::string body;            // JSON
    std::string_view slice = {}; // follows `body`: messages of the turn as they came, which need not be copied
    std::string tail = {};       // follows `slice`

    std::string text() const { return body + std::string(slice) + tail; }
};

/// The parts of an HTTP answer that matter for an error.
struct ErrorAnswer {
    int status = 0;
    std::string_view body;
    std::string_view retry_after;    // header value or empty
    std::string_view retry_after_ms; // header value or empty
};

/// Turns the body of one 2xx answer into events. One per model call; single-threaded.
class Decoder {
public:
    virtual ~Decoder() = default;

    /// Takes the next bytes, split anywhere. Appends events whose views are valid until the next call of feed or
    /// finish, or until `bytes` dies, whichever is first. Errors: kUpstream*; after one the decoder is spent.
    virtual core::Result<> feed(std::string_view bytes, std::vector<chat::RunEvent>& events) = 0;

    /// The body has ended. kUpstreamTruncated unless the answer was complete.
    virtual core::Result<> finish(std::vector<chat::RunEvent>& events) = 0;

    /// True once the answer is complete: what follows is ignored and the connection may be reused or dropped.
    virtual bool done() const noexcept = 0;
};

class Dialect {
public:
    virtual ~Dialect() = default;

    virtual std::unique_ptr<PreparedModel const> prepare(ModelSpec const& spec) const = 0;

    /// Builds the request. Errors: kUnsupportedValue / kInvalidValue with `param` for what this API cannot express.
    virtual core::Result<EncodedRequest> encode(PreparedModel const& model, chat::Turn const& turn) const = 0;

    /// `streaming` is what the answer really is, told by its Content-Type, not what was asked for.
    virtual std::unique_ptr<Decoder> decoder(bool streaming) const = 0;

    /// Reads a provider's error answer (any body: JSON, HTML, empty). Never quotes a credential.
    virtual core::Error decode_error(ErrorAnswer const& answer) const = 0;

    /// Path and body of an embeddings request; see Provider::embed.
    virtual EncodedRequest encode_embeddings(std::string_view model, std::string_view body_rest) const = 0;
};

std::unique_ptr<Dialect> make_openai_dialect(bool official_openai); // official: api.openai.com, max_completion_tokens
std::unique_ptr<Dialect> make_azure_chat_dialect(std::string api_version, bool v1);      // azure_openai_cc
std::unique_ptr<Dialect> make_azure_responses_dialect(std::string api_version, bool v1); // azure_openai
std::unique_ptr<Dialect> make_openrouter_dialect();
std::unique_ptr<Dialect> make_ollama_dialect();

} // namespace parley::providers

// Idempotency-Key: a request that is sent again gets the answer that it got, instead of a second run.
// What is asked for by draft-ietf-httpapi-idempotency-key-header, with the answers of OpenAI's and Stripe's API.
// The store is shared by all loops; it is touched only by requests that carry the header.
#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/context.hpp"
#include "core/hash.hpp"
#include "core/task.hpp"
#include "net/http_head.hpp"
#include "server/chat_request.hpp"
#include "server/chat_writer.hpp"

namespace parley::server {

inline constexpr std::string_view kIdempotencyHeader = "idempotency-key";

struct IdempotencyLimits {
    std::chrono::hours ttl{24};
    std::size_t entries_max = 10'000; // kept answers; the oldest goes first
    std::size_t bytes_max = 64 * 1024 * 1024;
    std::size_t answer_bytes_max = 4 * 1024 * 1024; // a longer answer is not kept, but its request is not run again
};

struct IdempotencyKey {
    std::string principal; // of the API key: what one sends is nothing to another
    std::string route;
    std::string key; // as sent

    auto operator<=>(IdempotencyKey const&) const = default;
};

class IdempotencyStore {
public:
    /// The right to answer: one at a time for a key. Dying without keep() lets the next one try.
    class Claim {
    public:
        virtual ~Claim() = default;

        /// The answer is part of a conversation, and goes with it.
        virtual void belongs_to(std::string owner, std::string session) = 0;

        /// Keeps the answer, an opaque text. Errors: those of the storage.
        virtual core::Task<> keep(std::string answer) = 0;
    };

    enum class State : std::uint8_t {
        kNew,          // `claim` is the caller's
        kAnswered,     // `answer` is what was kept
        kInProgress,   // somebody else has the claim
        kOtherRequest, // the key belongs to a request with another fingerprint
        kNotKept,      // answered, but the answer was too large
    };

    struct Found {
        State state = State::kNew;
        std::unique_ptr<Claim> claim = {};
        std::shared_ptr<std::string const> answer = {};
    };

    virtual ~IdempotencyStore() = default;

    /// Errors: kCancelled, kDeadlineExceeded of the context, and those of the storage.
    virtual core::Task<Found> claim(core::Context const& context, IdempotencyKey key,
                                    core::Sha256 const& fingerprint) = 0;

    /// The answers of a conversation that is erased; without a session, of all conversations of its owner.
    virtual void forget(std::string_view owner, std::string_view session) = 0;
};

/// The header's value; empty = not sent. Errors: kInvalidValue unless it is 1 to 255 visible ASCII characters, once.
core::Result<std::string_view> idempotency_key(net::RequestHead const& head);

/// What makes two requests the same: model, messages, tools and settings, and whose conversation it is; not how the
/// answer is to be sent (stream, stream_options), nor the order of the fields.
core::Sha256 request_fingerprint(ChatRequest const& request, net::RequestHead const& head,
                                 std::span<std::string const> session_headers);

/// What a client is told of a key that it cannot use now. `state` is one of the last three.
core::Error idempotency_error(IdempotencyStore::State state);

/// Collects the answer of a run beside its writer, and keeps it when it is whole. One per request.
class KeptAnswer {
public:
    KeptAnswer(std::unique_ptr<IdempotencyStore::Claim> claim, ChatReplyHead head);

    void write(std::span<chat::RunEvent const> events) { writer_.write(events); }

    /// To be called before the client can know that the answer is whole. Errors: those of the storage.
    core::Task<> complete();

private:
    std::unique_ptr<IdempotencyStore::Claim> claim_;
    ChatJsonWriter writer_;
};

} // namespace parley::server

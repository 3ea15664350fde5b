// The header, the fingerprint and the errors of idempotent requests. Pure but for KeptAnswer, which waits for its
// store.
#include "server/idempotency.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace parley::server {
namespace {

constexpr std::size_t kKeyBytesMax = 255;

// Whom a request is for: the same words of somebody else are another request.
constexpr std::string_view kUserHeaders[] = {"x-user-id", "x-openwebui-user-id"};

// With its length, so that no two lists of parts give the same bytes.
void add_part(std::string& out, std::string_view part) {
    auto const size = static_cast<std::uint64_t>(part.size());
    for (unsigned shift = 0; shift < 64; shift += 8)
        out += static_cast<char>((size >> shift) & 0xFF);
    out += part;
}

ChatReplyHead with_tools(ChatReplyHead head) {
    head.tools = ToolDisplay::kEvents; // whoever asks again may want to see them
    return head;
}

} // namespace

core::Result<std::string_view> idempotency_key(net::RequestHead const& head) {
    auto const count = head.count(kIdempotencyHeader);
    if (count == 0) return std::string_view{};
    auto const key = head.get(kIdempotencyHeader);
    auto const visible = std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c < 0x7f; });
    if (count == 1 && !key.empty() && key.size() <= kKeyBytesMax && visible) return key;
    return core::make_error(core::Errc::kInvalidValue,
                            "Invalid header Idempotency-Key: send it once, with 1 to 255 visible ASCII characters.",
                            std::string(kIdempotencyHeader));
}

core::Sha256 request_fingerprint(ChatRequest const& request, net::RequestHead const& head,
                                 std::span<std::string const> session_headers) {
    std::string bytes;
    bytes.reserve(request.body ? request.body->get().size() + 1024 : 1024);
    add_part(bytes, request.model);
    add_part(bytes, request.tools);
    add_part(bytes, request.tool_choice);
    add_part(bytes, request.session_id);
    add_part(bytes, request.conversation_id);
    for (auto const& name : kUserHeaders)
        add_part(bytes, head.get(name));
    for (auto const& name : session_headers)
        add_part(bytes, head.get(name));
    auto settings = request.settings;
    std::sort(settings.begin(), settings.end(), [](auto const& a, auto const& b) { return a.name < b.name; });
    for (auto const& setting : settings) {
        add_part(bytes, setting.name);
        add_part(bytes, setting.json);
    }
    add_part(bytes, {}); // no setting has an empty name
    for (auto const& message : request.messages)
        add_part(bytes, message.json);
    return core::sha256(bytes);
}

core::Error idempotency_error(IdempotencyStore::State state) {
    auto const make = [](core::Errc code, std::string message, bool should_retry) {
        auto error = core::make_error(code, std::move(message), std::string(kIdempotencyHeader));
        error.should_retry = should_retry;
        return error;
    };
    switch (state) {
        case IdempotencyStore::State::kInProgress:
            return make(core::Errc::kRequestInProgress,
                        "A request with this Idempotency-Key is still being answered. Ask again for its answer.", true);
        case IdempotencyStore::State::kOtherRequest:
            return make(core::Errc::kIdempotencyKeyReused,
                        "This Idempotency-Key was used for another request. Send a new key with a new request.", false);
        case IdempotencyStore::State::kNotKept:
            return make(core::Errc::kIdempotencyKeyReused,
                        "The request with this Idempotency-Key was answered, but the answer was too large to keep.",
                        false);
        case IdempotencyStore::State::kNew:
        case IdempotencyStore::State::kAnswered:
            break;
    }
    return core::make_error(core::Errc::kInternal, "This Idempotency-Key is not at fault.");
}

KeptAnswer::KeptAnswer(std::unique_ptr<IdempotencyStore::Claim> claim, ChatReplyHead head)
    : claim_(std::move(claim)), writer_(with_tools(std::move(head))) {}

core::Task<> KeptAnswer::complete() {
    std::string answer;
    writer_.finish(answer);
    auto const kept = co_await claim_->keep(std::move(answer));
    claim_.reset();
    co_return kept;
}

} // namespace parley::server

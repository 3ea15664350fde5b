#include "net/http_exchange.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <sys/socket.h>

namespace parley::net {
namespace {

using core::Errc;
using core::make_error;
using std::chrono::steady_clock;

constexpr HeadLimits kAnswerLimits{32 * 1024, 8 * 1024, 200};
constexpr int kInterimAnswersMax = 16; // 1xx before the real one

} // namespace

bool is_usable(Stream& stream) noexcept {
    if (!stream.is_open() || stream.has_buffered()) return false;
    char byte = 0;
    auto const n = ::recv(stream.descriptor(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

PooledExchange::PooledExchange(Loop& loop, core::Context const& context, std::shared_ptr<Upstream const> upstream,
                               Lease lease, core::SteadyTime total_end)
    : loop_(loop),
      context_(context),
      upstream_(std::move(upstream)),
      lease_(std::move(lease)),
      total_end_(total_end),
      deadline_(loop, Expire{this}),
      on_cancel_(context.cancellation, Stop{this}) {}

std::string PooledExchange::header_list(std::string_view name) const {
    std::string joined;
    for (auto const& field : head_.fields) {
        if (!field_is(field.name, name)) continue;
        if (!joined.empty()) joined += ", ";
        joined += field.value;
    }
    return joined;
}

core::Task<> PooledExchange::exchange(std::span<std::string_view> request, bool to_head_request, bool& untouched) {
    untouched = true;
    is_read_ = true;
    wait_for(Wait::kFirstByte, upstream_->timeouts.first_byte);
    auto const status = write_some(lease_.stream(), request);
    auto written = status == IoStatus::kOk;
    if (!written && status != IoStatus::kError) written = co_await write_rest(lease_.stream(), request);
    // A server may refuse early and close; what it says counts more than that our last bytes were not taken.
    std::string bytes;
    auto interim = 0;
    for (;;) {
        if (!bytes.empty()) {
            auto const parsed = parse_response_head(bytes, kAnswerLimits, to_head_request, head_);
            if (parsed.status == HeadStatus::kBad) co_return invalid(parsed.reason);
            if (parsed.status == HeadStatus::kDone && head_.status >= 200) {
                take_head(std::move(bytes), parsed.bytes);
                co_return core::Result<>{};
            }
            if (parsed.status == HeadStatus::kDone) {
                if (head_.status == 101 || ++interim > kInterimAnswersMax)
                    co_return invalid("It sends interim answers without end.");
                bytes.erase(0, parsed.bytes);
                continue;
            }
        }
        auto const got = co_await read_some(lease_.stream(), loop_.scratch());
        if (got.status != IoStatus::kOk) {
            co_return failed(written ? "It closed the connection before answering." : "It closed the connection.");
        }
        untouched = false;
        bytes.append(loop_.scratch().data(), got.bytes);
    }
}

core::Task<std::string_view> PooledExchange::read() {
    if (ended_) co_return std::string_view{};
    if (forgets_head_ && carry_.empty()) drop_head();
    wait_for(Wait::kIdle, upstream_->timeouts.idle);
    for (;;) {
        std::span<char> piece;
        if (!carry_.empty()) {
            piece = std::exchange(carry_, {});
        } else {
            auto const got = read_now(lease_.stream(), loop_.scratch());
            if (got.would_block()) { // not read_some(): a coroutine less in every stream
                is_read_ = true;
                co_await lease_.stream().wait();
                is_read_ = false;
                continue;
            }
            if (got.status == IoStatus::kEof && head_.body == BodyKind::kUntilClose && !stopped()) {
                end(false);
                co_return std::string_view{};
            }
            if (got.status != IoStatus::kOk)
                co_return failed("The connection was lost in the middle of the answer.", Errc::kUpstreamTruncated);
            piece = loop_.scratch().first(got.bytes);
        }
        auto const data = unframe(piece);
        if (!data) co_return data.error();
        if (!data->empty() || ended_) co_return *data;
    }
}

void PooledExchange::release() noexcept {
    if (ended_ || head_.body != BodyKind::kChunked || !carry_.empty()) return;
    auto const got = lease_.stream().try_read(loop_.scratch());
    if (got.status == IoStatus::kOk) (void)unframe(loop_.scratch().first(got.bytes));
}

void PooledExchange::take_head(std::string bytes, std::size_t head_size) {
    is_read_ = false;
    head_bytes_ = std::move(bytes); // a long string: the fields' views into it stay valid
    carry_ = std::span(head_bytes_).subspan(head_size);
    left_ = head_.content_length;
    auto const bodiless = head_.body == BodyKind::kNone || (head_.body == BodyKind::kLength && left_ == 0);
    if (bodiless) end(head_.keep_alive && carry_.empty());
}

void PooledExchange::drop_head() noexcept {
    forgets_head_ = false;
    std::vector<Field>().swap(head_.fields);
    std::string().swap(head_bytes_);
}

void PooledExchange::wait_for(Wait what, std::chrono::milliseconds limit) {
    auto const until = steady_clock::now() + limit;
    waiting_ = until < total_end_ ? what : Wait::kTotal;
    deadline_.at(std::min(until, total_end_));
}

void PooledExchange::expire() noexcept {
    if (!is_read_ && waiting_ != Wait::kTotal) {
        waiting_ = Wait::kTotal; // until the next read()
        deadline_.at(total_end_);
        return;
    }
    timed_out_ = true;
    lease_.stream().abort();
}

// Takes the framing off, in place: everything in `piece` is dealt with when this returns.
core::Result<std::string_view> PooledExchange::unframe(std::span<char> piece) noexcept {
    if (head_.body == BodyKind::kUntilClose) return std::string_view(piece.data(), piece.size());
    if (head_.body == BodyKind::kLength) {
        auto const n = static_cast<std::size_t>(std::min<std::uint64_t>(left_, piece.size()));
        left_ -= n;
        if (left_ == 0) end(head_.keep_alive && n == piece.size());
        return std::string_view(piece.data(), n);
    }
    return unchunk(piece);
}

core::Result<std::string_view> PooledExchange::unchunk(std::span<char> piece) noexcept {
    std::string_view rest(piece.data(), piece.size());
    std::string_view data;
    std::size_t size = 0;
    auto status = chunks_.next(rest, data);
    while (status == ChunkedReader::Status::kData) {
        std::memmove(piece.data() + size, data.data(), data.size());
        size += data.size();
        status = chunks_.next(rest, data);
    }
    if (status == ChunkedReader::Status::kBad) return invalid("Its chunked body is malformed.");
    if (status == ChunkedReader::Status::kDone) end(head_.keep_alive && rest.empty());
    return std::string_view(piece.data(), size);
}

void PooledExchange::end(bool reusable) noexcept {
    ended_ = true;
    deadline_.never();
    if (reusable) lease_.give_back();
}

core::Error PooledExchange::invalid(std::string_view why) const {
    return make_error(Errc::kUpstreamInvalid,
                      upstream_->shown() + " sent an answer that is not valid HTTP. " + std::string(why));
}

core::Error PooledExchange::failed(std::string_view why, Errc code) {
    if (context_.cancellation.cancelled()) return make_error(Errc::kCancelled, "The client went away.");
    if (timed_out_) {
        if (waiting_ == Wait::kTotal && context_.deadline <= total_end_) {
            return make_error(Errc::kDeadlineExceeded, "The run took longer than this agent may take.");
        }
        auto const what = waiting_ == Wait::kFirstByte ? "did not start to answer in time."
                          : waiting_ == Wait::kIdle    ? "stopped answering in the middle."
                                                       : "took too long to answer.";
        return make_error(Errc::kUpstreamTimeout, upstream_->shown() + " " + what);
    }
    return make_error(code, upstream_->shown() + " cannot be reached. " + std::string(why), {},
                      lease_.stream().last_error());
}

} // namespace parley::net

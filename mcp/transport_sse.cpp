// The first HTTP transport (2024-11-05): one GET stream brings everything that the server says; its first event names
// the URL to POST to. Source: specification 2024-11-05, "Transports".
#include <chrono>
#include <list>
#include <optional>
#include <utility>

#include "mcp/http_endpoint.hpp"
#include "mcp/protocol.hpp"
#include "mcp/transport.hpp"
#include "net/broadcast.hpp"
#include "net/task_group.hpp"

namespace parley::mcp {
namespace {

using core::Errc;
using core::make_error;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kNotificationMax{30};

class SseChannel final : public Channel {
public:
    SseChannel(TransportParts const& parts, std::unique_ptr<HttpEndpoint> endpoint, Inbox& inbox)
        : endpoint_(std::move(endpoint)), inbox_(inbox), changed_(parts.loop), tasks_(parts.loop) {}

    core::Task<> open(core::Context const& context, std::string headers) override {
        base_headers_ = std::move(headers);
        tasks_.spawn(read_stream());
        while (post_target_.empty() && !ended_) {
            co_await changed_.wait(context);
            if (context.cancellation.cancelled()) co_return make_error(Errc::kCancelled, "Nobody waits any more.");
            if (steady_clock::now() >= context.deadline)
                co_return make_error(Errc::kUpstreamTimeout, "It did not say where to send messages in time.");
        }
        if (ended_) co_return *ended_;
        co_return core::Result<>{};
    }

    void send(Outgoing message) override {
        outbox_.push_back(std::move(message));
        if (outbox_.size() == 1) tasks_.spawn(post_outbox());
    }

    bool abandon(std::int64_t id) override {
        if (take_unsent(outbox_, id)) return true;
        // A server may take a message only when it has its result. Nobody waits for that any more, but others behind
        // it.
        if (!outbox_.empty() && outbox_.front().id == id) posting_->cancel();
        return false;
    }

    void established(std::string_view, bool) override {}

    core::Awaitable<void> close() override {
        closing_ = true;
        life_.cancel();
        if (posting_) posting_->cancel();
        co_await tasks_.all_ended();
        co_await endpoint_->close();
    }

private:
    core::Awaitable<void> read_stream() {
        core::Context const context{life_};
        auto const read = co_await read_all_events(context);
        ended_ = read ? make_error(Errc::kUpstreamTruncated, "It closed its event stream.") : read.error();
        changed_.notify_all();
        if (!closing_ && !post_target_.empty()) inbox_.on_lost(*ended_);
    }

    core::Task<> read_all_events(core::Context const& context) {
        auto answer = co_await endpoint_->request(context, "GET", endpoint_->target(),
                                                  "accept: text/event-stream\r\n" + base_headers_, "");
        if (!answer) co_return answer.error();
        if ((*answer)->status() != 200) {
            auto error = co_await HttpEndpoint::read_error(**answer, endpoint_->upstream());
            co_return error;
        }
        if (!is_content_type((*answer)->header("content-type"), "text/event-stream"))
            co_return make_error(Errc::kUpstreamInvalid, "It answered GET with something that is no event stream.");
        StreamPosition position;
        auto const on_event = [this](net::SseEvent const& event) {
            if (event.event == "endpoint") return take_endpoint(event.data);
            if (!event.data.empty()) inbox_.on_message(event.data);
            return true;
        };
        auto const read = co_await read_events(**answer, position, on_event);
        if (!read) co_return read.error();
        if (post_target_.empty()) co_return make_error(Errc::kUpstreamInvalid, "It never said where to send messages.");
        co_return core::Result<>{};
    }

    // Absolute URLs must be of the same origin: anything else would send our credentials somewhere else.
    bool take_endpoint(std::string_view text) {
        auto const& url = endpoint_->upstream().url;
        auto const origin = std::string(url.tls ? "https://" : "http://") + url.authority();
        if (text.starts_with(origin)) text.remove_prefix(origin.size());
        if (text.find("://") != std::string_view::npos || text.starts_with("//")) return false;
        if (text.find_first_of(" \r\n\t") != std::string_view::npos) return false;
        if (text.starts_with('/')) {
            post_target_ = text;
        } else { // relative to the configured path
            auto const path = std::string_view(endpoint_->target()).substr(0, endpoint_->target().find('?'));
            post_target_ = std::string(path.substr(0, path.rfind('/') + 1)).append(text);
        }
        changed_.notify_all();
        return true;
    }

    core::Awaitable<void> post_outbox() {
        while (!outbox_.empty()) {
            posting_.emplace();
            if (closing_) posting_->cancel();
            // A request has its own limit, with which it is abandoned.
            auto const limit = outbox_.front().id ? core::SteadyTime::max() : steady_clock::now() + kNotificationMax;
            core::Context const context{*posting_, limit};
            auto const done = co_await post(context, outbox_.front());
            auto message = std::move(outbox_.front());
            outbox_.pop_front();
            if (message.on_sent) message.on_sent(done);
            if (!done && message.id && inbox_.is_waiting(*message.id)) inbox_.on_failed(*message.id, done.error());
        }
    }

    core::Task<> post(core::Context const& context, Outgoing const& message) {
        auto headers = message.headers.empty() ? base_headers_ : message.headers;
        headers += "content-type: application/json\r\naccept: application/json, text/event-stream\r\n";
        auto answer = co_await endpoint_->request(context, "POST", post_target_, std::move(headers), message.json,
                                                  !message.is_call);
        if (!answer) co_return answer.error();
        if ((*answer)->status() >= 300) {
            auto error = co_await HttpEndpoint::read_error(**answer, endpoint_->upstream());
            co_return error;
        }
        auto const body = co_await net::HttpClient::read_all(**answer, kMessageBytesMax); // "Accepted", as a rule
        if (!body) co_return body.error();
        co_return core::Result<>{};
    }

    std::unique_ptr<HttpEndpoint> endpoint_;
    Inbox& inbox_;
    std::string base_headers_;
    std::string post_target_;
    std::optional<core::Error> ended_;
    bool closing_ = false;
    core::Cancellation life_;
    std::list<Outgoing> outbox_;                // in order: a server may take them one by one
    std::optional<core::Cancellation> posting_; // of the first one
    net::Broadcast changed_;
    net::TaskGroup tasks_;
};

} // namespace

core::Result<std::unique_ptr<Channel>> make_sse_channel(TransportParts const& parts,
                                                        std::shared_ptr<ServerSpec const> spec, Inbox& inbox) {
    auto endpoint = HttpEndpoint::make(parts, std::move(spec));
    if (!endpoint) return endpoint.error();
    return std::unique_ptr<Channel>(new SseChannel(parts, std::move(*endpoint), inbox));
}

} // namespace parley::mcp

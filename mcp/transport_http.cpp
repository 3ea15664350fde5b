// Streamable HTTP, of both eras: every message is a POST, and its answer a JSON body or an event stream that may bring
// other messages first. With a session (until 2025-11-25) there is also a GET stream for what the server says by
// itself, and a stream that breaks off is taken up again. Source: specification, "Transports".
#include <algorithm>
#include <map>
#include <utility>

#include "mcp/http_endpoint.hpp"
#include "mcp/protocol.hpp"
#include "mcp/transport.hpp"
#include "net/http_head.hpp"
#include "net/task_group.hpp"

namespace parley::mcp {
namespace {

using core::Errc;
using core::make_error;
using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLinger{1'000};  // for the end of a stream whose answer has come
constexpr std::chrono::milliseconds kGoodbye{2'000}; // for DELETE
constexpr std::chrono::milliseconds kPauseMin{100};  // a server may say `retry: 0`
constexpr std::chrono::milliseconds kListenPauseMax{30'000};
constexpr int kResumptionsMax = 1'000; // of one request: servers may poll us this way

class HttpChannel final : public Channel {
public:
    HttpChannel(TransportParts const& parts, std::unique_ptr<HttpEndpoint> endpoint, Inbox& inbox)
        : loop_(parts.loop), endpoint_(std::move(endpoint)), inbox_(inbox), tasks_(parts.loop) {}

    core::Task<> open(core::Context const&, std::string headers) override {
        base_headers_ = std::move(headers);
        co_return core::Result<>{};
    }

    void send(Outgoing message) override { tasks_.spawn(post(std::move(message))); }

    bool abandon(std::int64_t id) override {
        auto const found = under_way_.find(id);
        if (found == under_way_.end()) return false;
        found->second->cancel();
        return modern_; // there a closed stream is the cancellation
    }

    void established(std::string_view protocol_version, bool modern) override {
        protocol_version_ = protocol_version;
        modern_ = modern;
        if (!modern) tasks_.spawn(listen());
    }

    core::Awaitable<void> close() override {
        if (!session_id_.empty()) co_await say_goodbye();
        life_.cancel();
        for (auto const& [id, cancellation] : under_way_)
            cancellation->cancel();
        co_await tasks_.all_ended();
        co_await endpoint_->close();
    }

private:
    std::string headers_for(std::string_view accept, std::string_view of_message) const {
        std::string out = "accept: ";
        out.append(accept).append("\r\n");
        if (!protocol_version_.empty() && of_message.find("mcp-protocol-version:") == std::string_view::npos)
            out.append("mcp-protocol-version: ").append(protocol_version_).append("\r\n");
        if (!session_id_.empty()) out.append("mcp-session-id: ").append(session_id_).append("\r\n");
        return out.append(of_message.empty() ? std::string_view(base_headers_) : of_message);
    }

    core::Awaitable<void> post(Outgoing message) {
        core::Cancellation cancellation;
        if (message.id) under_way_[*message.id] = &cancellation;
        auto const stop = [&cancellation]() noexcept { cancellation.cancel(); };
        core::OnCancel const on_end(life_, stop);
        core::Context const context{cancellation};
        auto const done = co_await deliver(context, cancellation, message);
        if (message.id) under_way_.erase(*message.id);
        if (message.on_sent) message.on_sent(done);
        if (!message.id || !inbox_.is_waiting(*message.id)) co_return;
        inbox_.on_failed(
            *message.id,
            done ? make_error(Errc::kUpstreamTruncated, "It ended its answer without a result.") : done.error());
    }

    core::Task<> deliver(core::Context const& context, core::Cancellation& cancellation, Outgoing const& message) {
        auto headers = headers_for("application/json, text/event-stream", message.headers);
        headers += "content-type: application/json\r\n";
        auto answer = co_await endpoint_->request(context, "POST", endpoint_->target(), std::move(headers),
                                                  message.json, !message.is_call);
        if (!answer) co_return answer.error();
        if ((*answer)->status() >= 300) {
            auto error = co_await HttpEndpoint::read_error(**answer, endpoint_->upstream());
            co_return error;
        }
        take_session(**answer);
        auto const type = std::string((*answer)->header("content-type"));
        if (is_content_type(type, "text/event-stream")) {
            auto const followed = co_await follow(context, cancellation, message, std::move(*answer));
            co_return followed;
        }
        auto const body = co_await net::HttpClient::read_all(**answer, kMessageBytesMax);
        if (!body) co_return body.error();
        if (is_content_type(type, "application/json") && !body->empty()) inbox_.on_message(*body);
        co_return core::Result<>{};
    }

    // Reads the stream that answers a request; where it breaks off before the answer, takes it up again.
    core::Task<> follow(core::Context const& context, core::Cancellation& cancellation, Outgoing const& message,
                        HttpEndpoint::Answer answer) {
        StreamPosition position;
        auto const give_up = [&cancellation]() noexcept { cancellation.cancel(); };
        net::OnDeadline linger(loop_, give_up);
        auto const on_event = [&](net::SseEvent const& event) {
            if (!event.data.empty()) inbox_.on_message(event.data);
            if (!message.id || !inbox_.is_waiting(*message.id)) linger.after(kLinger);
            return true;
        };
        for (auto resumed = 0;; ++resumed) {
            auto const read = co_await read_events(*answer, position, on_event);
            if (!message.id || !inbox_.is_waiting(*message.id)) co_return core::Result<>{};
            if (context.cancellation.cancelled()) co_return make_error(Errc::kCancelled, "Nobody waits any more.");
            auto const can_resume = !modern_ && !position.last_event_id.empty() && resumed < kResumptionsMax;
            if (!can_resume) {
                if (!read) co_return read.error();
                co_return make_error(Errc::kUpstreamTruncated, "The connection ended before the result.");
            }
            auto const slept = co_await loop_.sleep(context, std::max(position.retry, kPauseMin));
            if (!slept) co_return slept.error();
            auto again = co_await open_stream(context, position.last_event_id);
            if (!again) { // whatever is wrong with that: the request was taken
                co_return make_error(
                    Errc::kUpstreamTruncated,
                    "The connection ended before the result, and no other one brought it. " + again.error().message);
            }
            answer = std::move(*again);
        }
    }

    core::Task<HttpEndpoint::Answer> open_stream(core::Context const& context, std::string const& last_event_id) {
        auto headers = headers_for("text/event-stream", "");
        if (!last_event_id.empty()) headers.append("last-event-id: ").append(last_event_id).append("\r\n");
        auto answer = co_await endpoint_->request(context, "GET", endpoint_->target(), std::move(headers), "");
        if (!answer) co_return answer.error();
        if ((*answer)->status() != 200) {
            auto error = co_await HttpEndpoint::read_error(**answer, endpoint_->upstream());
            co_return error;
        }
        if (!is_content_type((*answer)->header("content-type"), "text/event-stream"))
            co_return make_error(Errc::kUpstreamInvalid, "It answered GET with something that is no event stream.");
        co_return std::move(*answer);
    }

    // The server's own stream: requests and notifications that belong to no call. A server need not have one (405).
    core::Awaitable<void> listen() {
        core::Context const context{life_};
        StreamPosition position;
        auto const on_event = [&](net::SseEvent const& event) {
            if (!event.data.empty()) inbox_.on_message(event.data);
            return !life_.cancelled();
        };
        auto pause = position.retry;
        while (!life_.cancelled()) {
            auto answer = co_await open_stream(context, position.last_event_id);
            if (!answer && answer.error().upstream_status != 0) co_return; // not offered, or the session is gone
            if (answer) {
                auto const read = co_await read_events(**answer, position, on_event);
                pause = read ? position.retry : pause * 2;
            } else {
                pause *= 2;
            }
            pause = std::clamp(pause, kPauseMin, kListenPauseMax);
            auto const slept = co_await loop_.sleep(context, pause);
            if (!slept) co_return;
        }
    }

    core::Awaitable<void> say_goodbye() {
        core::Cancellation cancellation;
        core::Context const context{cancellation, steady_clock::now() + kGoodbye};
        auto const answer = co_await endpoint_->request(context, "DELETE", endpoint_->target(),
                                                        headers_for("application/json", ""), "");
        (void)answer; // 405 and anything else is fine: we leave
    }

    void take_session(net::ClientExchange const& answer) {
        auto const id = answer.header("mcp-session-id");
        if (session_id_.empty() && !id.empty() && protocol_version_.empty()) session_id_ = id;
    }

    net::Loop& loop_;
    std::unique_ptr<HttpEndpoint> endpoint_;
    Inbox& inbox_;
    std::string base_headers_;
    std::string protocol_version_; // set once the handshake is over
    std::string session_id_;
    bool modern_ = false;
    core::Cancellation life_;
    std::map<std::int64_t, core::Cancellation*> under_way_;
    net::TaskGroup tasks_;
};

} // namespace

core::Result<std::unique_ptr<Channel>> make_http_channel(TransportParts const& parts,
                                                         std::shared_ptr<ServerSpec const> spec, Inbox& inbox) {
    auto endpoint = HttpEndpoint::make(parts, std::move(spec));
    if (!endpoint) return endpoint.error();
    return std::unique_ptr<Channel>(new HttpChannel(parts, std::move(*endpoint), inbox));
}

} // namespace parley::mcp

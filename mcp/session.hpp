// One conversation with one server: the handshake of either era, requests with their answers, time limits, progress and
// cancellation, and what the server asks of us. Shared by everybody who waits on it; lives on the servers' loop.
#pragma once

#include <boost/json/object.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/context.hpp"
#include "core/task.hpp"
#include "mcp/protocol.hpp"
#include "mcp/request_headers.hpp"
#include "mcp/server_spec.hpp"
#include "mcp/tool_host.hpp"
#include "mcp/transport.hpp"
#include "net/broadcast.hpp"
#include "net/signal.hpp"
#include "net/task_group.hpp"

namespace parley::mcp {

/// What was found out about a server that saves the next session from asking again.
struct EraMemory {
    Era era = Era::kAuto;     // kAuto = not known
    bool legacy_sse = false;  // of kHttpOrSse: it knows only HTTP+SSE
    core::SteadyTime until{}; // after that it is asked again
};

struct Request {
    std::string method;
    boost::json::object params = {};
    std::vector<ParamHeader> param_headers = {};
    std::chrono::milliseconds idle_timeout{60'000}; // reset by progress
    std::chrono::milliseconds timeout{300'000};
    std::function<void(Progress const&)> on_progress = {};
    bool may_be_cancelled = true; // initialize may not
};

class Session final : private Inbox {
public:
    Session(TransportParts parts, std::shared_ptr<ServerSpec const> spec, std::function<void()> on_tools_changed);
    ~Session() override;
    Session(Session const&) = delete;
    Session& operator=(Session const&) = delete;

    /// Connects and shakes hands; `memory` is used and filled. Errors: why it cannot be used, for people.
    core::Task<> start(core::Context const& context, Caller const& caller, EraMemory& memory);

    /// Sends a request and waits for its answer; a JSON-RPC error is an answer. In the modern era the server's
    /// questions (input_required) are answered on the way. Errors: kCancelled, kDeadlineExceeded of the context;
    /// kUpstreamTimeout of the request's own limits; what the transport says. should_retry = true: the server has
    /// certainly not seen the request.
    core::Task<Reply> request(core::Context const& context, Caller const& caller, Request request);

    /// Ends in good order, at the latest after some seconds. Nothing of the session runs afterwards.
    core::Awaitable<void> close();

    /// Waits until no request is under way, or the context is cancelled.
    core::Awaitable<void> all_answered(core::Context const& context);

    bool is_lost() const noexcept { return lost_.has_value(); }
    core::Error const& lost_reason() const noexcept { return *lost_; }
    bool is_modern() const noexcept { return modern_; }
    core::SteadyTime heard_at() const noexcept { return heard_at_; } // the server's last message came
    std::string const& protocol_version() const noexcept { return version_; }
    std::string server_name() const; // as it calls itself, for people
    bool offers(std::string_view capability) const noexcept {
        return capabilities_.contains({capability.data(), capability.size()});
    }
    std::string diagnosis() const { return channel_ ? channel_->diagnosis() : std::string(); }
    /// The first thing that a program wrote to its standard output that is not the protocol; empty = there was none.
    std::string const& noise() const noexcept { return noise_; }

private:
    struct Pending;

    void on_message(std::string_view text) override;
    bool is_waiting(std::int64_t id) const override;
    void on_failed(std::int64_t id, core::Error error) override;
    void on_lost(core::Error reason) override;

    void take(Message message);
    void note_noise(std::string_view text, core::Error const& reason);
    void take_notification(Message const& message);
    void answer(Message const& message);
    void send_answer(boost::json::value const& id, core::Result<boost::json::object> const& result);
    core::Awaitable<void> answer_sampling(Message message);
    core::Task<boost::json::object> sample(core::Context const& context, boost::json::object params);
    bool is_sampling(std::string_view method) const noexcept;
    core::Result<boost::json::object> answer_to(std::string_view method, boost::json::object const& params) const;
    boost::json::object capabilities() const;
    boost::json::object client_meta() const;

    core::Task<> open(core::Context const& context, Caller const& caller, bool legacy_sse);
    core::Task<> shake_hands(core::Context const& context, Caller const& caller, EraMemory& memory);
    core::Task<> probe_stdio(core::Context const& context, Caller const& caller, EraMemory& memory);
    core::Task<bool> discover(core::Context const& context, Caller const& caller, std::chrono::milliseconds limit);
    core::Task<> initialize(core::Context const& context, Caller const& caller);
    core::Task<Reply> request_once(core::Context const& context, Caller const& caller, Request const& request);
    core::Task<> notify(core::Context const& context, Caller const& caller, std::string method);
    void tell_cancelled(std::int64_t id, Request const& request, Caller const& caller, std::string_view reason);
    core::Awaitable<void> watch_changes();
    std::string headers_of(Caller const& caller, Request const& request) const;
    bool boot_answered_with_discovery(Reply const& reply);

    TransportParts parts_;
    std::shared_ptr<ServerSpec const> spec_;
    std::function<void()> on_tools_changed_;
    std::unique_ptr<Channel> channel_;
    bool modern_ = false;
    std::string version_;
    boost::json::object server_info_;
    boost::json::object capabilities_; // the server's
    std::optional<core::Error> lost_;
    std::int64_t next_id_ = 1;
    int sampling_ = 0; // under way
    std::map<std::int64_t, Pending*> pending_;
    net::Broadcast answered_; // when there is none any more
    std::string noise_;
    core::SteadyTime heard_at_{};
    core::Cancellation life_;
    Caller starter_; // whose headers go with what belongs to no call
    net::TaskGroup tasks_;
};

} // namespace parley::mcp

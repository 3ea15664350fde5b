#include "mcp/session.hpp"

#include <algorithm>
#include <utility>

namespace parley::mcp {
namespace {

namespace json = boost::json;

using core::Errc;
using core::make_error;
using std::chrono::steady_clock;

constexpr int kInputRoundsMax = 8; // input_required, then again
constexpr std::size_t kNoiseBytesRead = 2'000;
constexpr std::size_t kNoiseBytesShown = 120;

double number_in(json::object const& object, char const* key) {
    auto const* const value = object.if_contains(key);
    if (!value) return 0;
    if (value->is_double()) return value->get_double();
    if (value->is_int64()) return static_cast<double>(value->get_int64());
    return value->is_uint64() ? static_cast<double>(value->get_uint64()) : 0;
}

// Our ids are numbers; some servers send them back as text.
std::optional<std::int64_t> our_id(json::value const& id) {
    if (id.is_int64()) return id.get_int64();
    if (id.is_uint64()) return static_cast<std::int64_t>(id.get_uint64());
    if (id.is_double()) return static_cast<std::int64_t>(id.get_double());
    if (!id.is_string() || id.get_string().size() > 18) return std::nullopt;
    std::int64_t number = 0;
    for (char const c : id.get_string()) {
        if (c < '0' || c > '9') return std::nullopt;
        number = number * 10 + (c - '0');
    }
    return number;
}

} // namespace

// One request that somebody waits for. On the stack of its coroutine.
struct Session::Pending {
    explicit Pending(net::Loop& loop) : signal(loop.executor()) {}

    void settle(core::Result<Reply> with) {
        if (outcome) return;
        outcome = std::move(with);
        signal.set();
    }

    net::Signal signal;
    std::optional<core::Result<Reply>> outcome;
    std::function<void(Progress const&)> const* on_progress = nullptr;
    net::Deadline* deadline = nullptr;
    core::SteadyTime hard_end;
    std::chrono::milliseconds idle{0};
};

Session::Session(TransportParts parts, std::shared_ptr<ServerSpec const> spec, std::function<void()> on_tools_changed)
    : parts_(std::move(parts)),
      spec_(std::move(spec)),
      on_tools_changed_(std::move(on_tools_changed)),
      answered_(parts_.loop),
      tasks_(parts_.loop) {}

Session::~Session() = default;

std::string Session::server_name() const {
    auto name = plain_text(text_in(server_info_, "name"), 100);
    auto const version = plain_text(text_in(server_info_, "version"), 40);
    return version.empty() ? name : name + " " + version;
}

core::Task<Reply> Session::request(core::Context const& context, Caller const& caller, Request request) {
    for (auto round = 0;; ++round) {
        auto reply = co_await request_once(context, caller, request);
        if (!reply || !modern_ || reply->error) co_return reply;
        auto const type = text_in(reply->result, "resultType");
        if (type.empty() || type == "complete") co_return reply;
        if (type != "input_required" || round == kInputRoundsMax) {
            co_return make_error(Errc::kUpstreamInvalid,
                                 type == "input_required" ? "It keeps asking for input."
                                                          : "It answered with a result of a kind that is not known: " +
                                                                plain_text(type, 60));
        }
        // Answer what it asks, and send the same request again: with the answers and its state, byte for byte.
        json::object responses;
        if (auto const* const inputs = object_in(reply->result, "inputRequests")) {
            for (auto const& member : *inputs) {
                auto const* const input = member.value().if_object();
                if (!input) continue;
                static json::object const none;
                auto const* const params = object_in(*input, "params");
                auto const method = text_in(*input, "method");
                auto answer = core::Result<json::object>(json::object{});
                if (is_sampling(method)) {
                    answer = co_await sample(context, params ? *params : none);
                } else {
                    answer = answer_to(method, params ? *params : none);
                }
                if (!answer) co_return answer.error();
                responses[member.key()] = std::move(*answer);
            }
        }
        request.params["inputResponses"] = std::move(responses);
        if (auto const* const state = reply->result.if_contains("requestState")) {
            request.params["requestState"] = *state;
        } else {
            request.params.erase("requestState");
        }
    }
}

core::Task<Reply> Session::request_once(core::Context const& context, Caller const& caller, Request const& request) {
    if (lost_) {
        auto error = *lost_;
        error.should_retry = true; // it was not sent
        co_return error;
    }
    if (context.cancellation.cancelled()) co_return make_error(Errc::kCancelled, "The client went away.");
    auto const id = next_id_++;
    auto params = request.params;
    json::object meta;
    if (auto const* const given = object_in(params, "_meta")) meta = *given;
    if (modern_) {
        for (auto const& member : client_meta())
            meta[member.key()] = member.value();
    }
    if (request.on_progress || request.method == "tools/call") meta["progressToken"] = id;
    if (!meta.empty()) params["_meta"] = std::move(meta);

    Pending pending(parts_.loop);
    pending.on_progress = &request.on_progress;
    auto const now = steady_clock::now();
    pending.idle = request.idle_timeout;
    pending.hard_end = std::min(now + request.timeout, context.deadline);
    auto const wake = [&pending]() noexcept { pending.signal.set(); };
    net::OnDeadline deadline(parts_.loop, wake);
    deadline.at(std::min(now + pending.idle, pending.hard_end));
    pending.deadline = &deadline;
    pending_[id] = &pending;
    auto const is_call = request.method == "tools/call";
    channel_->send({make_request(id, request.method, params), id, headers_of(caller, request), {}, is_call});
    {
        core::OnCancel const on_cancel(context.cancellation, wake);
        co_await pending.signal.wait();
    }
    pending_.erase(id);
    if (pending_.empty()) answered_.notify_all();
    if (pending.outcome) co_return std::move(*pending.outcome);

    auto const cancelled = context.cancellation.cancelled();
    auto const known = channel_->abandon(id);
    if (!known && request.may_be_cancelled)
        tell_cancelled(id, request, caller, cancelled ? "The client went away." : "It took too long.");
    if (cancelled) co_return make_error(Errc::kCancelled, "The client went away.");
    if (steady_clock::now() >= context.deadline)
        co_return make_error(Errc::kDeadlineExceeded, "The run took longer than this agent may take.");
    auto const hard = steady_clock::now() >= pending.hard_end;
    auto const limit = hard ? request.timeout : request.idle_timeout;
    co_return make_error(Errc::kUpstreamTimeout, "It did not answer " + request.method + " within " +
                                                     std::to_string(limit.count()) + " ms" +
                                                     (hard ? "." : ", nor report progress."));
}

void Session::tell_cancelled(std::int64_t id, Request const& request, Caller const& caller, std::string_view reason) {
    if (lost_) return;
    json::object params{{"requestId", id}, {"reason", reason}};
    if (modern_) params["_meta"] = client_meta();
    Request const notification{"notifications/cancelled", params};
    (void)request;
    channel_->send({make_notification(notification.method, params), std::nullopt, headers_of(caller, notification)});
}

core::Task<> Session::notify(core::Context const& context, Caller const& caller, std::string method) {
    Pending pending(parts_.loop);
    auto const wake = [&pending]() noexcept { pending.signal.set(); };
    Request const notification{std::move(method)};
    // The transport may outlive this coroutine when it is cancelled: what it calls back must too.
    auto const sent = std::make_shared<std::optional<core::Result<>>>();
    auto const waiting = std::make_shared<Pending*>(&pending);
    channel_->send({make_notification(notification.method, {}), std::nullopt, headers_of(caller, notification),
                    [sent, waiting](core::Result<> result) {
                        *sent = std::move(result);
                        if (*waiting) (*waiting)->signal.set();
                    }});
    {
        core::OnCancel const on_cancel(context.cancellation, wake);
        net::OnDeadline deadline(parts_.loop, wake);
        deadline.at(context.deadline);
        co_await pending.signal.wait();
    }
    *waiting = nullptr;
    if (*sent) co_return **sent;
    co_return make_error(Errc::kUpstreamTimeout, "It did not take " + notification.method + " in time.");
}

std::string Session::headers_of(Caller const& caller, Request const& request) const {
    if (spec_->transport == Transport::kStdio) return {};
    auto headers = caller_headers(*spec_, caller);
    if (modern_) headers += modern_headers(version_, request.method, request.params, request.param_headers);
    return headers;
}

// ---- what comes from the server

void Session::on_message(std::string_view text) {
    auto value = parse_json(text);
    if (!value) return note_noise(text, value.error());
    auto const take_one = [this, text](json::value&& one) {
        auto message = to_message(std::move(one));
        if (!message) return note_noise(text, message.error());
        take(std::move(*message));
    };
    if (auto* const batch = value->if_array()) {
        for (auto& one : *batch)
            take_one(std::move(one));
    } else {
        take_one(std::move(*value));
    }
}

// Programs print banners: no reason to give up, but worth telling when nothing else comes.
void Session::note_noise(std::string_view text, core::Error const& reason) {
    parts_.loop.log().debug("mcp_message_dropped").add("server", spec_->label).add("reason", reason.message);
    if (!noise_.empty() || spec_->transport != Transport::kStdio) return;
    auto shown = std::string(text.substr(0, kNoiseBytesRead));
    if (parts_.secrets) shown = (*parts_.secrets)(std::move(shown));
    noise_ = plain_text(shown, kNoiseBytesShown);
}

bool Session::is_waiting(std::int64_t id) const {
    auto const found = pending_.find(id);
    return found != pending_.end() && !found->second->outcome;
}

void Session::on_failed(std::int64_t id, core::Error error) {
    auto const found = pending_.find(id);
    if (found == pending_.end()) return;
    // An HTTP error whose body is a JSON-RPC error is an answer of the server's protocol layer.
    if (auto rpc = error.upstream_status != 0 ? error_in(error.detail) : std::nullopt) {
        found->second->settle(Reply{{}, std::move(rpc), error.upstream_status});
        return;
    }
    found->second->settle(std::move(error));
}

void Session::on_lost(core::Error reason) {
    if (lost_) return;
    lost_ = std::move(reason);
    for (auto const& [id, pending] : pending_)
        pending->settle(*lost_);
}

void Session::take(Message message) {
    heard_at_ = steady_clock::now();
    switch (message.kind) {
        case Message::Kind::kRequest:
            answer(message);
            return;
        case Message::Kind::kNotification:
            take_notification(message);
            return;
        case Message::Kind::kResponse:
            break;
    }
    auto const id = our_id(message.id);
    auto const found = id ? pending_.find(*id) : pending_.end();
    if (found != pending_.end()) found->second->settle(std::move(message.reply));
}

void Session::take_notification(Message const& message) {
    if (message.method == "notifications/progress") {
        auto const* const token = message.params.if_contains("progressToken");
        auto const id = token ? our_id(*token) : std::nullopt;
        auto const found = id ? pending_.find(*id) : pending_.end();
        if (found == pending_.end() || found->second->outcome) return;
        auto& pending = *found->second;
        pending.deadline->at(std::min(steady_clock::now() + pending.idle, pending.hard_end));
        if (!*pending.on_progress) return;
        Progress progress;
        progress.progress = number_in(message.params, "progress");
        if (message.params.contains("total")) progress.total = number_in(message.params, "total");
        progress.message = plain_text(text_in(message.params, "message"));
        (*pending.on_progress)(progress);
    } else if (message.method == "notifications/tools/list_changed") {
        on_tools_changed_();
    } else if (message.method == "notifications/message") {
        auto const* const data = message.params.if_contains("data");
        parts_.loop.log()
            .debug("mcp_server_says")
            .add("server", spec_->label)
            .add("level", plain_text(text_in(message.params, "level"), 20))
            .add("text", data && data->is_string() ? plain_text(std::string_view(data->get_string())) : std::string());
    }
}

} // namespace parley::mcp

// One configured server: its sessions, one for each principal unless it is shared, when they start again after a
// failure, its tools as last listed, and how it is doing. Owned by the host; lives on the servers' loop.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/metrics.hpp"
#include "core/task.hpp"
#include "mcp/pins.hpp"
#include "mcp/server_health.hpp"
#include "mcp/session.hpp"
#include "mcp/tool_host.hpp"
#include "mcp/tool_reader.hpp"
#include "net/broadcast.hpp"
#include "net/task_group.hpp"

namespace parley::mcp {

class Server {
public:
    Server(TransportParts parts, std::shared_ptr<ServerSpec const> spec, Pins& pins, core::MetricSet& metrics);
    ~Server();
    Server(Server const&) = delete;
    Server& operator=(Server const&) = delete;

    ServerSpec const& spec() const noexcept { return *spec_; }

    /// The tools that may be offered, from the cache while it is fresh. Errors: why there are none, for people.
    core::Task<std::shared_ptr<ToolList const>> tools(core::Context const& context, Caller const& caller);

    /// Runs a tool. Errors: kCancelled and kDeadlineExceeded of the context only; anything else is a result.
    core::Task<CallResult> call(core::Context const& context, Caller const& caller, std::string tool,
                                std::string arguments, std::function<void(Progress const&)> on_progress);

    /// Pins the definitions as they are now; of one tool, or of all when empty. Errors: as tools(); kInvalidValue.
    core::Task<std::size_t> approve(core::Context const& context, Caller const& caller, std::string tool);

    /// Closes sessions that nobody has used for a while.
    void tidy(core::SteadyTime now);

    /// Closes everything, and waits for those who are inside. Nothing of the server runs afterwards; it must not be
    /// used again.
    core::Awaitable<void> close();

    ServerHealth health() const;

    bool is_idle() const noexcept { return guests_ == 0 && tasks_.running() == 0; }

private:
    // A principal's place at this server.
    struct Seat : std::enable_shared_from_this<Seat> {
        explicit Seat(net::Loop& loop) : changed(loop) {}
        std::shared_ptr<Session> session; // null while there is none
        bool starting = false;
        bool in_question = false; // whether the session answers anything
        core::SteadyTime start_begun{};
        bool proven = false; // the session has answered something
        int failures = 0;    // in a row
        core::SteadyTime next_try{};
        core::SteadyTime last_used{};
        std::size_t users = 0;
        std::string last_error = {};
        net::Broadcast changed;
        // as listed in this session
        std::shared_ptr<ToolList const> list;
        std::map<std::string, std::vector<ParamHeader>, std::less<>> param_headers = {};
        core::SteadyTime list_until{};
        bool listing = false;
        core::SteadyTime list_begun{};
        std::uint64_t listings = 0; // that have ended, so that those who wait know when theirs has
        core::Result<std::shared_ptr<ToolList const>> listed = std::shared_ptr<ToolList const>(); // what came of it
        int list_failures = 0;                                                                    // in a row
        core::SteadyTime list_next_try{};
    };
    // How long a run waits for what has failed before; it goes on in the background.
    static constexpr std::chrono::milliseconds kPatience{1'000};

    std::string seat_name(Caller const& caller) const;
    Seat& seat_of(Caller const& caller);
    core::Task<std::shared_ptr<Session>> session(core::Context const& context, Caller const& caller, Seat& seat);
    core::Awaitable<void> start(Seat& seat, Caller caller);
    void failed(Seat& seat, core::Error const& error);
    void prove(Seat& seat);
    std::chrono::milliseconds pause_after(int failures);
    static core::Error tried_again(std::string const& reason, core::SteadyTime next_try);
    void drop(Seat& seat);
    void let_end(Seat& seat);
    std::shared_ptr<Session> unhook(Seat& seat);
    void leave(Seat& seat, std::shared_ptr<Session> const& session, core::Error const& error);
    core::Awaitable<void> retire(std::shared_ptr<Session> session);
    core::Awaitable<void> retire_at_its_end(std::shared_ptr<Session> session);
    core::Task<std::shared_ptr<ToolList const>> list(core::Context const& context, Caller const& caller, Seat& seat);
    core::Awaitable<void> renew(Seat& seat, std::shared_ptr<Session> session, Caller caller);
    void not_listed(Seat& seat, core::Error error);
    core::Task<std::vector<ListedTool>> read_list(core::Context const& context, Caller const& caller, Seat& seat,
                                                  Session& session);
    core::Task<std::vector<ListedTool>> list_anew(core::Context const& context, Caller const& caller, Seat& seat);
    std::shared_ptr<ToolList const> checked(Seat& seat, std::vector<ListedTool> listed);
    core::Task<Reply> call_once(core::Context const& context, Caller const& caller, Seat& seat, Request const& request);
    core::Awaitable<void> question(std::shared_ptr<Seat> seat, Caller caller);
    core::Task<> enter(core::Context const& context);
    CallResult told(std::string text, bool may_be_done) const;
    bool is_unheard(core::Error const& error, Session const& session) const;
    core::Awaitable<bool> is_forgotten(core::Context const& context, Caller const& caller, Seat const& seat,
                                       std::shared_ptr<Session> session, int status);

    TransportParts parts_;
    std::shared_ptr<ServerSpec const> spec_;
    Pins& pins_;
    std::string pin_identity_;
    std::map<std::string, std::shared_ptr<Seat>> seats_;
    EraMemory era_;
    int hung_starts_ = 0; // in a row, of all seats
    std::string last_error_;
    std::string last_words_; // of a program that has ended
    std::string server_name_;
    std::vector<std::string> refused_tools_; // with the reason, as last listed
    std::vector<std::string> changed_tools_; // whose definition is not the pinned one
    // Somebody else's coroutine that is inside: the server must not go before it has left.
    class Guest {
    public:
        explicit Guest(Server& server) : server_(server) { ++server_.guests_; }
        ~Guest() {
            --server_.guests_;
            server_.guest_left_.notify_all();
        }
        Guest(Guest const&) = delete;
        Guest& operator=(Guest const&) = delete;

    private:
        Server& server_;
    };

    std::size_t calls_ = 0;
    net::Broadcast call_ended_;
    std::size_t guests_ = 0;
    net::Broadcast guest_left_;
    bool closing_ = false;
    core::Cancellation life_;
    net::TaskGroup tasks_;
    core::MetricSet& metrics_;
    core::Counter& sessions_gauge_;
};

} // namespace parley::mcp

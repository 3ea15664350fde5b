// A request loop's way to the servers' loop and back. Each question is an Errand: made here, done there, and brought
// back with its outcome. Both sides hold it, so neither has to wait for the other when it leaves.
#include "mcp/tool_host.hpp"

#include <boost/asio/co_spawn.hpp>

#include <utility>

#include "mcp/host.hpp"
#include "net/signal.hpp"

namespace parley::mcp {
namespace {

using core::Errc;
using core::make_error;

template <class T>
struct Errand : std::enable_shared_from_this<Errand<T>> {
    Errand(net::Loop& from, net::Loop& to, core::Context const& asked_by)
        : here(from), there(to), deadline(asked_by.deadline), request_id(asked_by.request_id), done(from.executor()) {}

    // There.
    template <class Work>
    void begin(Work work) {
        there.post([self = this->shared_from_this(), work = std::move(work)]() mutable {
            auto ended = [self](std::exception_ptr failure, core::Result<T> outcome) {
                if (failure) outcome = make_error(Errc::kInternal, "A tool call failed inside Parley.");
                self->here.post([self, outcome = std::move(outcome)]() mutable {
                    self->outcome = std::move(outcome);
                    self->done.set();
                });
            };
            boost::asio::co_spawn(self->there.context(), self->run(std::move(work)), std::move(ended));
        });
    }

    template <class Work>
    static core::Task<T> run_work(std::shared_ptr<Errand> self, Work work) {
        core::Context const context{self->cancellation, self->deadline, self->request_id};
        auto result = co_await work(context);
        co_return result;
    }
    template <class Work>
    core::Task<T> run(Work work) {
        return run_work(this->shared_from_this(), std::move(work));
    }

    // Here: waits for the outcome, or leaves when the context is cancelled; the errand is told and ends by itself.
    static core::Task<T> wait(std::shared_ptr<Errand> self, core::Context const& context) {
        auto const leave = [&self]() noexcept {
            self->there.post([errand = self] { errand->cancellation.cancel(); });
            self->done.set();
        };
        {
            core::OnCancel const on_cancel(context.cancellation, leave);
            co_await self->done.wait();
        }
        self->left = true;
        if (self->outcome) co_return std::move(*self->outcome);
        co_return make_error(Errc::kCancelled, "The client went away.");
    }

    net::Loop& here;
    net::Loop& there;
    core::SteadyTime deadline;
    std::string request_id;
    net::Signal done;
    std::optional<core::Result<T>> outcome; // here
    bool left = false;                      // here: nobody waits any more
    core::Cancellation cancellation;        // there
};

class LoopToolHost final : public ToolHost {
public:
    LoopToolHost(Host& host, net::Loop& loop) : host_(host), loop_(loop) {}

    core::Task<std::vector<ServerTools>> tools(core::Context const& context, Caller const& caller,
                                               std::span<std::shared_ptr<ServerSpec const> const> servers) override {
        std::vector<std::shared_ptr<Errand<std::shared_ptr<ToolList const>>>> errands;
        for (auto const& spec : servers) {
            auto errand = std::make_shared<Errand<std::shared_ptr<ToolList const>>>(loop_, host_.loop(), context);
            errand->begin(
                [host = &host_, spec, caller](core::Context const& there) { return list(*host, spec, caller, there); });
            errands.push_back(std::move(errand));
        }
        std::vector<ServerTools> out;
        std::optional<core::Error> stopped;
        for (std::size_t i = 0; i < errands.size(); ++i) {
            auto list = co_await Errand<std::shared_ptr<ToolList const>>::wait(errands[i], context);
            ServerTools one{servers[i], nullptr, {}};
            if (list) {
                one.list = std::move(*list);
            } else {
                auto const code = list.error().code;
                if (code == Errc::kCancelled || code == Errc::kDeadlineExceeded) stopped = list.error();
                one.unavailable = list.error().message;
            }
            out.push_back(std::move(one));
        }
        if (stopped) co_return *stopped;
        co_return out;
    }

    core::Task<CallResult> call(core::Context const& context, Caller const& caller, ToolCall call) override {
        auto errand = std::make_shared<Errand<CallResult>>(loop_, host_.loop(), context);
        std::function<void(Progress const&)> on_progress;
        if (call.on_progress) {
            // Runs there; brings the news here, where it is dropped if nobody waits any more.
            on_progress = [weak = std::weak_ptr(errand), tell = std::move(call.on_progress)](Progress const& news) {
                auto const strong = weak.lock();
                if (!strong) return;
                strong->here.post([strong, tell, news] {
                    if (!strong->left && !strong->outcome) tell(news);
                });
            };
        }
        errand->begin([host = &host_, caller, call = std::move(call), on_progress = std::move(on_progress)](
                          core::Context const& there) { return run(*host, caller, call, on_progress, there); });
        auto result = co_await Errand<CallResult>::wait(std::move(errand), context);
        co_return result;
    }

private:
    static core::Task<std::shared_ptr<ToolList const>> list(Host& host, std::shared_ptr<ServerSpec const> spec,
                                                            Caller caller, core::Context const& context) {
        auto tools = co_await host.server(spec).tools(context, caller);
        co_return tools;
    }

    static core::Task<CallResult> run(Host& host, Caller caller, ToolCall call,
                                      std::function<void(Progress const&)> on_progress, core::Context const& context) {
        auto result =
            co_await host.server(call.server)
                .call(context, caller, std::move(call.tool), std::move(call.arguments), std::move(on_progress));
        co_return result;
    }

    Host& host_;
    net::Loop& loop_;
};

} // namespace

namespace {

core::Task<std::size_t> approve_there(Host& host, std::shared_ptr<ServerSpec const> spec, std::string tool,
                                      core::Context const& context) {
    Caller const caller{"anonymous"};
    auto approved = co_await host.server(spec).approve(context, caller, std::move(tool));
    co_return approved;
}

} // namespace

core::Task<std::size_t> Host::approve(net::Loop& here, core::Context const& context,
                                      std::shared_ptr<ServerSpec const> spec, std::string tool) {
    auto errand = std::make_shared<Errand<std::size_t>>(here, loop_, context);
    errand->begin([this, spec = std::move(spec), tool = std::move(tool)](core::Context const& there) {
        return approve_there(*this, spec, tool, there);
    });
    auto approved = co_await Errand<std::size_t>::wait(std::move(errand), context);
    co_return approved;
}

std::unique_ptr<ToolHost> Host::face(net::Loop& loop) {
    return std::make_unique<LoopToolHost>(*this, loop);
}

} // namespace parley::mcp

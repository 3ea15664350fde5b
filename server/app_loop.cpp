#include "server/app_loop.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <utility>
#include <vector>

namespace parley::server {
namespace {

constexpr std::int64_t kErasedAtOnce = 500;
constexpr std::chrono::milliseconds kEndingTime{1'000};
constexpr std::chrono::milliseconds kReservationTime = std::chrono::hours(48); // longer than any run

core::Awaitable<void> end_with_tasks(LoopRunner& one) {
    net::OnDeadline late(one.loop, [&one]() noexcept { one.loop.stop(); });
    late.after(kEndingTime);
    one.ending.cancel();
    co_await one.tasks.all_ended();
    one.loop.stop();
}

} // namespace

void LoopRunner::end() {
    loop.post([this] { boost::asio::co_spawn(loop.context(), end_with_tasks(*this), boost::asio::detached); });
}

core::Awaitable<void> follow_keys(LoopRunner& one, StoredKeys known) {
    auto use = [&one](StoredKeys const& fresh) { one.gateway.use(fresh); };
    co_await watch_keys(one.loop, one.ending, one.keys, std::move(known), use);
}

StoredKeys read_keys_now(LoopRunner& one) {
    core::Cancellation never;
    core::Context const context{never, core::SteadyTime::max(), "start"};
    StoredKeys known{.is_current = false};
    auto ended = [&](std::exception_ptr, core::Result<StoredKeys> read) {
        if (read) known = std::move(*read);
        one.loop.stop();
    };
    boost::asio::co_spawn(one.loop.context(), read_keys(one.keys, context), std::move(ended));
    one.loop.run();
    one.loop.context().restart();
    return known;
}

core::Awaitable<void> clean_up(LoopRunner& one, std::chrono::milliseconds interval) {
    core::Context const context{one.ending, core::SteadyTime::max(), "clean_up"};
    while (!one.ending.cancelled()) {
        std::int64_t count = 0;
        for (auto more = true; more;) {
            auto const erased = co_await one.conversations.erase_expired(context, kErasedAtOnce);
            if (!erased && !one.ending.cancelled())
                one.loop.log().warn("clean_up_failed").add("reason", erased.error().message);
            count += erased ? *erased : 0;
            more = erased && *erased > 0;
        }
        if (count > 0) one.loop.log().info("conversations_expired").add("count", count);
        auto const swept = co_await one.usage_limits.sweep(context, wall_clock_ms() - kReservationTime.count());
        if (!swept && !one.ending.cancelled())
            one.loop.log().warn("clean_up_failed").add("reason", swept.error().message);
        (void)co_await one.loop.sleep(context, interval);
    }
}

} // namespace parley::server

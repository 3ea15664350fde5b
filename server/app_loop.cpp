#include "server/app_loop.hpp"

#include <boost/asio/co_spawn.hpp>

#include <utility>
#include <vector>

namespace parley::server {
namespace {

constexpr std::int64_t kErasedAtOnce = 500;
constexpr std::chrono::milliseconds kReservationTime = std::chrono::hours(48); // longer than any run

} // namespace

core::Awaitable<void> follow_keys(LoopRunner& one, StoredKeys known) {
    auto use = [&one](StoredKeys const& fresh) { one.gateway.use(fresh); };
    co_await watch_keys(one.loop, one.keys, std::move(known), use);
}

StoredKeys read_keys(Settings const& settings) {
    auto quiet = settings;
    quiet.log.level = core::LogLevel::kError;
    auto const store = open_store(quiet);
    StoredKeys known{.is_current = false};
    if (!store) return known;
    net::Loop loop({core::LogLevel::kError, core::LogFormat::kText, 2, false, false});
    auto const database = (*store)->face(loop);
    policy::KeyStore keys(*database, wall_clock_ms, "gateway");
    core::Cancellation never;
    core::Context const context{never};
    auto ended = [&](std::exception_ptr, core::Result<std::vector<policy::KeyRecord>> all) {
        if (all) known = {std::make_shared<policy::KeyBook const>(std::move(*all)), true};
        loop.stop();
    };
    boost::asio::co_spawn(loop.context(), keys.list(context), std::move(ended));
    loop.run();
    (*store)->close();
    return known;
}

core::Awaitable<void> clean_up(LoopRunner& one, std::chrono::milliseconds interval) {
    core::Cancellation never;
    core::Context const context{never, core::SteadyTime::max(), "clean_up"};
    for (;;) {
        std::int64_t count = 0;
        for (auto more = true; more;) {
            auto const erased = co_await one.conversations.erase_expired(context, kErasedAtOnce);
            if (!erased) one.loop.log().warn("clean_up_failed").add("reason", erased.error().message);
            count += erased ? *erased : 0;
            more = erased && *erased > 0;
        }
        if (count > 0) one.loop.log().info("conversations_expired").add("count", count);
        auto const swept = co_await one.usage_limits.sweep(context, wall_clock_ms() - kReservationTime.count());
        if (!swept) one.loop.log().warn("clean_up_failed").add("reason", swept.error().message);
        (void)co_await one.loop.sleep(context, interval);
    }
}

} // namespace parley::server

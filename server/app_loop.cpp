#include "server/app_loop.hpp"

namespace parley::server {
namespace {

constexpr std::int64_t kErasedAtOnce = 500;

} // namespace

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
        (void)co_await one.loop.sleep(context, interval);
    }
}

} // namespace parley::server

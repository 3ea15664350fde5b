// Searches for names that end when nobody waits for them any more.
#include "net/dns.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <gtest/gtest.h>

#include <exception>
#include <future>
#include <memory>

namespace parley::net {
namespace {

core::Awaitable<void> ask_in_vain(Resolver& resolver, core::Errc& code) {
    core::Cancellation never;
    core::Context const context{never};
    auto const found = co_await resolver.resolve(context, "localhost", 80, std::chrono::steady_clock::now());
    code = found ? core::Errc::kInternal : found.error().code;
}

// What it touched that was gone, AddressSanitizer says (make asan).
TEST(Resolver, ASearchMayEndAfterItsLoop) {
    boost::asio::thread_pool pool(1);
    std::promise<void> go_on;
    boost::asio::post(pool, [held = go_on.get_future().share()] { held.wait(); });
    auto loop = std::make_unique<Loop>(core::LogOptions{});
    auto resolver = std::make_unique<Resolver>(*loop, pool);
    auto code = core::Errc::kInternal;
    auto done = [&](std::exception_ptr error) {
        EXPECT_FALSE(error);
        loop->stop();
    };
    boost::asio::co_spawn(loop->context(), ask_in_vain(*resolver, code), done);
    loop->run();
    EXPECT_EQ(code, core::Errc::kUpstreamTimeout);
    resolver.reset();
    loop.reset();
    go_on.set_value();
    pool.join();
}

} // namespace
} // namespace parley::net

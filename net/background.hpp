// Work that would hold a loop up, done on another thread.
#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include <exception>
#include <utility>

#include "core/task.hpp"
#include "net/loop.hpp"
#include "net/signal.hpp"

namespace parley::net {

/// Calls `work` on a thread of `pool`, and returns on the loop once that is done. Nothing ends it early: whoever
/// destroys the loop joins the pool first. What `work` throws is thrown here. Not inlined for the reason of
/// Signal::next().
template <class Work>
[[gnu::noinline]] core::Awaitable<void> in_background(Loop& loop, boost::asio::thread_pool& pool, Work& work) {
    auto begin = [&pool, &work, executor = loop.executor()](auto handler) {
        boost::asio::post(pool, [&work, executor, handler = std::move(handler)]() mutable {
            std::exception_ptr thrown;
            try {
                work();
            } catch (...) {
                thrown = std::current_exception();
            }
            auto end = [handler = std::move(handler), thrown]() mutable { handler(thrown); };
            boost::asio::post(executor, std::move(end));
        });
    };
    return boost::asio::async_initiate<boost::asio::use_awaitable_t<core::Executor> const, void(std::exception_ptr)>(
        std::move(begin), use_awaitable);
}

} // namespace parley::net

// Bodies that take a loop too long to read are read beside it (docs/decisions/0018-large-bodies.md).
#pragma once

#include <boost/asio/thread_pool.hpp>

#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>

#include "core/task.hpp"
#include "net/background.hpp"

namespace parley::server {

inline constexpr std::size_t kLargeBodyBytes = 256 * 1024;

/// What `read` returns, called on a thread of `readers`.
template <class Read>
core::Awaitable<std::invoke_result_t<Read&>> read_beside(net::Loop& loop, boost::asio::thread_pool& readers,
                                                         Read read) {
    std::optional<std::invoke_result_t<Read&>> result;
    auto work = [&result, &read] { result.emplace(read()); };
    co_await net::in_background(loop, readers, work);
    co_return std::move(*result);
}

} // namespace parley::server

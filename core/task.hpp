// The coroutine types of the house. One io_context per core and no strands, so the executor is concrete.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "core/result.hpp"

namespace parley::core {

using Executor = boost::asio::io_context::executor_type;

template <class T = void>
using Awaitable = boost::asio::awaitable<T, Executor>;

template <class T = void>
using Task = Awaitable<Result<T>>;

} // namespace parley::core

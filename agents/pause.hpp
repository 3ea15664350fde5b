// A wait inside a run that ends when the client goes away.
#pragma once

#include <chrono>

#include "core/context.hpp"
#include "core/task.hpp"

namespace parley::agents {

/// Waits for `time` on the loop of the coroutine. Errors: kCancelled.
core::Task<> pause(core::Context const& context, std::chrono::milliseconds time);

} // namespace parley::agents

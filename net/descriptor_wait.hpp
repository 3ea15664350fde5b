// Waits for a descriptor that a library owns (libpq's socket): when it can be read or written, nothing more. On one
// loop. It watches a duplicate: libpq closes its socket by itself as soon as the server is gone, and the number may be
// somebody else's a moment later.
#pragma once

#include <boost/asio/posix/stream_descriptor.hpp>

#include "core/task.hpp"
#include "net/loop.hpp"

namespace parley::net {

class DescriptorWait {
public:
    /// Watches nothing where the process may open no more files: readable() and writable() say false.
    DescriptorWait(Loop& loop, int descriptor);
    DescriptorWait(DescriptorWait const&) = delete;
    DescriptorWait& operator=(DescriptorWait const&) = delete;

    /// false = stop() was called, or the descriptor cannot be watched. One waiter for each direction.
    core::Awaitable<bool> readable();
    core::Awaitable<bool> writable();

    /// Ends all waiting, now and from now on.
    void stop() noexcept;

private:
    using Descriptor = boost::asio::posix::basic_stream_descriptor<core::Executor>;
    core::Awaitable<bool> wait(Descriptor::wait_type what);

    Descriptor descriptor_;
    bool stopped_ = false;
};

} // namespace parley::net

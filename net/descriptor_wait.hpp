// Waits for a descriptor that a library owns (libpq's socket): when it can be read or written, nothing more.
// On one loop; the library's descriptor must stay open as long as this is watching it.
#pragma once

#include <boost/asio/posix/stream_descriptor.hpp>

#include "core/task.hpp"
#include "net/loop.hpp"

namespace parley::net {

class DescriptorWait {
public:
    DescriptorWait(Loop& loop, int descriptor);

    /// Lets the library have its descriptor back.
    ~DescriptorWait();
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

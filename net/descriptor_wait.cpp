#include "net/descriptor_wait.hpp"

#include <boost/asio/redirect_error.hpp>

#include <fcntl.h>
#include <unistd.h>

#include "net/signal.hpp"

namespace parley::net {

DescriptorWait::DescriptorWait(Loop& loop, int descriptor) : descriptor_(loop.executor()) {
    auto const own = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    boost::system::error_code error;
    if (own >= 0) descriptor_.assign(own, error);
    if (own >= 0 && error) ::close(own);
}

core::Awaitable<bool> DescriptorWait::wait(Descriptor::wait_type what) {
    if (stopped_) co_return false;
    boost::system::error_code error;
    co_await descriptor_.async_wait(what, boost::asio::redirect_error(use_awaitable, error));
    co_return !error && !stopped_;
}

core::Awaitable<bool> DescriptorWait::readable() {
    return wait(Descriptor::wait_read);
}

core::Awaitable<bool> DescriptorWait::writable() {
    return wait(Descriptor::wait_write);
}

void DescriptorWait::stop() noexcept {
    stopped_ = true;
    boost::system::error_code ignored;
    descriptor_.cancel(ignored);
}

} // namespace parley::net

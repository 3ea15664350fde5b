#include "server/process.hpp"

#include <sys/resource.h>

extern "C" {
// mimalloc's (mimalloc.h), where it is linked: only the program has it, not the tests.
[[gnu::weak]] void mi_collect(bool force) noexcept;
}

namespace parley::server {

std::size_t raise_descriptor_limit() noexcept {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    ::getrlimit(RLIMIT_NOFILE, &limit);
    return static_cast<std::size_t>(limit.rlim_cur);
}

void forbid_core_dumps() noexcept {
    rlimit const none{};
    ::setrlimit(RLIMIT_CORE, &none);
}

void give_back_spare_memory() noexcept {
    if (mi_collect != nullptr) mi_collect(true);
}

} // namespace parley::server

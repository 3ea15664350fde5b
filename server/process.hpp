// What the gateway asks of the kernel and the allocator for the process as a whole. Called by App.
#pragma once

#include <cstddef>

namespace parley::server {

/// As many open files as the process may have (a soft limit of 1,024 is for programs that use select()); how many that
/// are.
std::size_t raise_descriptor_limit() noexcept;

/// A dump of this process would hold keys and conversations.
void forbid_core_dumps() noexcept;

/// Gives back to the kernel what the calling thread has freed: an idle gateway is small. Takes a millisecond or so,
/// hence not for the data path. Does nothing for what was freed less than half a second ago: mimalloc 2 puts that off,
/// and does not come back to it.
void give_back_spare_memory() noexcept;

} // namespace parley::server

// Time, and chance, of a simulated world. While a VirtualTime lives, std::chrono's clocks stand still until every
// coroutine of the program waits, and then jump to the moment of Asio's earliest timer; std::random_device gives
// numbers from the seed. Production code is not touched: virtual_time.cpp defines the functions of libstdc++ and libc
// that it calls, and the linker takes those of the program first. One io_context at a time, on one thread.
#pragma once

#include <chrono>
#include <cstdint>

namespace parley::simulation {

class VirtualTime {
public:
    explicit VirtualTime(std::uint64_t seed);
    ~VirtualTime();
    VirtualTime(VirtualTime const&) = delete;
    VirtualTime& operator=(VirtualTime const&) = delete;

    /// Since the world began.
    static std::chrono::milliseconds now() noexcept;
};

} // namespace parley::simulation

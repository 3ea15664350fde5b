// One connection of the load generator and the request that is under way on it.
// Owned by the load generator.
// Runs on its single thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "bench/common/http_reader.hpp"
#include "bench/common/mark.hpp"

namespace parley::bench {

struct LoadConnection {
    enum class Phase { kClosed, kConnecting, kIdle, kBusy };

    int fd = -1;
    Phase phase = Phase::kClosed;
    bool waits_for_room = false;
    HttpReader reader{HttpReader::Kind::kResponse};
    MarkScanner scanner;
    std::size_t sent_bytes = 0;
    std::uint32_t marks = 0;
    std::uint64_t number = 0;   // of the request, from 0
    std::uint64_t start_ns = 0; // when the request was due (open loop) or sent (closed loop)
    std::uint64_t sent_ns = 0;  // when its first byte was given to the kernel
    bool leaving = false;       // has seen as much as it wants
    std::string refusal;        // first bytes of the body of an answer that is not 200
};

} // namespace parley::bench

// What the load generator measures and the one JSON line that it prints.
// Owned by the load generator.
// Runs on its single thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "bench/common/histogram.hpp"

namespace parley::bench {

enum class Fault { kConnect, kClosed, kStatus, kFraming, kMarks, kNoDone, kTimeout };
inline constexpr std::array<char const*, 7> kFaultNames = {"connect", "closed",  "status", "framing",
                                                           "marks",   "no_done", "timeout"};

struct LoadReport {
    std::uint64_t requests = 0; // answered in full and as expected
    std::array<std::uint64_t, kFaultNames.size()> faults{};
    std::string first_fault;                // in words, for the person who has to find it
    std::map<int, std::uint64_t> statuses;  // of every whole answer
    std::uint64_t in_time = 0;              // of `requests`, those answered within the duration
    std::uint64_t refused = 0;              // answers with one of the statuses that are no fault
    std::uint64_t refused_without_time = 0; // of those, without retry-after
    std::uint64_t aborted = 0;              // answers that this client left on purpose
    std::uint64_t unsent = 0;               // due, but the duration was over before a connection was free
    std::uint64_t marks = 0;                // content events, or answers when not streaming
    std::uint64_t marks_lost = 0;           // content events that did not come, of answers that began with 200
    std::uint64_t connections_opened = 0;
    std::uint64_t backlog_max = 0; // open loop: requests that were due while every connection was busy
    double cpu_s = 0;              // of the load generator itself
    double elapsed_s = 0;          // from the first request to the last answer
    Histogram latency;             // to the last byte of the answer
    Histogram refusal;             // the same of a refusal
    Histogram refusal_sent;        // from the first byte sent to the last byte of the refusal
    Histogram first_event;         // to the first mark
    Histogram event_delay;         // from the upstream's send to our read, of every mark in the window
    Histogram send_lag;            // open loop: how late the generator itself looked at what was due

    void add_fault(Fault fault, std::string_view words);
    [[nodiscard]] std::uint64_t fault_count() const;
    // One line without line end; times in microseconds.
    [[nodiscard]] std::string json() const;
};

} // namespace parley::bench

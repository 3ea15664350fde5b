// Decides whether an answer is what was asked for, and books it: a wrong one is a fault and never a figure.
// Owned by the load generator, whose report it writes to.
// Runs on its single thread.
#pragma once

#include <cstdint>

#include "bench/common/load_connection.hpp"
#include "bench/common/load_options.hpp"
#include "bench/common/load_report.hpp"

namespace parley::bench {

class AnswerCheck {
public:
    // Both outlive this.
    AnswerCheck(LoadOptions const& options, LoadReport& report)
        : options_(options), report_(report), marks_expected_(options.stream ? options.events : 1) {}

    // An answer whose last byte came at `now_ns`; `in_time`: within the duration.
    void whole(LoadConnection const& connection, std::uint64_t now_ns, bool in_time);
    // An answer whose client closes on purpose.
    void left(LoadConnection const& connection);
    // An answer that will not be whole, for a reason that was booked by the caller.
    void cut(LoadConnection const& connection);

private:
    void refused(LoadConnection const& connection, std::uint64_t now_ns);
    [[nodiscard]] bool as_expected(LoadConnection const& connection);

    LoadOptions const& options_;
    LoadReport& report_;
    std::uint32_t marks_expected_;
};

} // namespace parley::bench

// Cuts a byte stream into lines (NDJSON, application/x-ndjson), however it is split on its way.
// Owned by one decoder; single-threaded; no I/O.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace parley::providers {

class NdjsonReader {
public:
    static constexpr std::size_t kLineBytesMax = 8 * 1024 * 1024;

    explicit NdjsonReader(std::size_t line_bytes_max = kLineBytesMax) : line_bytes_max_(line_bytes_max) {}

    /// Takes the next bytes and appends the lines that they complete, without LF or CRLF; blank lines are left out.
    /// Views are valid until the next call or until `bytes` dies. Errors: kUpstreamInvalid (a line is too long).
    core::Result<> feed(std::string_view bytes, std::vector<std::string_view>& lines);

    /// What came after the last line end: a last line without one, or the beginning of a line that was cut off.
    /// Valid until the next call.
    std::string_view rest() const noexcept;

private:
    core::Error too_long() const;

    std::size_t line_bytes_max_;
    std::string partial_;  // the beginning of a line
    std::string finished_; // the line that the last call of feed completed out of `partial_`
    bool first_line_ = true;
};

} // namespace parley::providers

// The strict gate: reads the head of an HTTP/1.1 message (RFC 9112) and refuses whatever two readers could take
// differently. Sans-IO, no allocation beyond the field list, no state between calls. Nothing else in the house
// parses heads. Fuzzed (tests/fuzz/http_head), and held to the battery in tests/integration/test_http_edge.py.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace parley::net {

struct HeadLimits {
    std::size_t head_bytes_max = 16 * 1024; // start line and all fields
    std::size_t target_bytes_max = 8 * 1024;
    std::size_t fields_max = 100;
};

struct Field {
    std::string_view name;  // as sent; compare with field_is()
    std::string_view value; // surrounding white space removed
};

bool field_is(std::string_view name, std::string_view lower_case) noexcept;

enum class BodyKind : std::uint8_t { kNone, kLength, kChunked, kUntilClose };

// Views point into the bytes given to the parser.
struct RequestHead {
    std::string_view method;
    std::string_view target; // origin form: starts with '/'
    std::string_view path;   // target up to '?'
    std::string_view query;  // behind '?', may be empty
    std::vector<Field> fields;
    BodyKind body = BodyKind::kNone;
    std::uint64_t content_length = 0; // kLength only
    bool http_1_0 = false;
    bool keep_alive = true;
    bool expects_continue = false;

    /// First value of the field, or empty.
    std::string_view get(std::string_view lower_case_name) const noexcept;
    std::size_t count(std::string_view lower_case_name) const noexcept;
};

struct ResponseHead {
    int status = 0;
    std::vector<Field> fields;
    BodyKind body = BodyKind::kNone;
    std::uint64_t content_length = 0;
    bool keep_alive = true;

    std::string_view get(std::string_view lower_case_name) const noexcept;
};

enum class HeadStatus : std::uint8_t { kDone, kNeedMore, kBad };

struct HeadResult {
    HeadStatus status = HeadStatus::kNeedMore;
    std::size_t bytes = 0;        // kDone: length of the head
    int http_status = 0;          // kBad: what to answer (400, 414, 417, 431, 501, 505); the connection must close
    std::string_view reason = {}; // kBad: plain words, a literal
};

/// `bytes` is what has arrived so far. Bad starts are told before the whole head is there.
HeadResult parse_request_head(std::string_view bytes, HeadLimits const& limits, RequestHead& out);

/// `to_head_request`: the answer has no body whatever its fields say. Accepts what real servers send where that is
/// unambiguous (missing reason phrase); refuses the rest.
HeadResult parse_response_head(std::string_view bytes, HeadLimits const& limits, bool to_head_request,
                               ResponseHead& out);

} // namespace parley::net

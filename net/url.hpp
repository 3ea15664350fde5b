// The URL of a server that the configuration names. URLs never come from a request.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace parley::net {

struct Url {
    bool tls = false;
    std::string host; // without brackets
    std::uint16_t port = 0;
    std::string path; // no trailing '/', may be empty

    /// host, with brackets for IPv6 and the port unless it is the scheme's own: the Host header's value.
    std::string authority() const;
};

/// Accepts http and https; no user info, query or fragment. Errors: kInvalidValue in plain words.
core::Result<Url> parse_url(std::string_view text);

/// Percent-decodes one path segment. Errors: kInvalidValue for a broken escape or an encoded NUL.
core::Result<std::string> decode_segment(std::string_view segment);

} // namespace parley::net

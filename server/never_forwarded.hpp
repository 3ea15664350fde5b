// Fields by which some gateways let a request choose its destination or credentials (CVE-2024-6587). Never passed on,
// so that a gateway behind us cannot be led by them either.
#pragma once

#include <algorithm>
#include <iterator>
#include <string_view>

namespace parley::server {

inline bool is_never_forwarded(std::string_view field) noexcept {
    constexpr std::string_view kFields[] = {"api_base",      "api_key",    "api_version",  "azure_endpoint", "base_url",
                                            "extra_headers", "extra_body", "organization", "headers"};
    return std::find(std::begin(kFields), std::end(kFields), field) != std::end(kFields);
}

} // namespace parley::server

// Fields by which some gateways let a request choose its destination or its credentials (CVE-2024-6587). They are never
// passed on, so that a gateway behind this one cannot be led by them either.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace parley::chat {

inline constexpr std::array<std::string_view, 16> kDestinationFields{
    "api_base",        "api_key",        "api_type",   "api_version",
    "azure_ad_token",  "azure_endpoint", "base_url",   "custom_llm_provider",
    "default_headers", "deployment_id",  "extra_body", "extra_headers",
    "extra_query",     "headers",        "model_list", "organization"};

constexpr bool is_destination_field(std::string_view name) noexcept {
    return std::find(kDestinationFields.begin(), kDestinationFields.end(), name) != kDestinationFields.end();
}

} // namespace parley::chat

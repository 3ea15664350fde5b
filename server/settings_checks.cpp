#include "server/settings_checks.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>

#include "core/ascii.hpp"
#include "core/header_text.hpp"
#include "policy/api_keys.hpp"

namespace parley::server {
namespace {

bool is_letter(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

bool is_one_of(char c, std::string_view marks) noexcept {
    return is_letter(c) || is_digit(c) || marks.find(c) != std::string_view::npos;
}

bool all_of(std::string_view text, std::string_view marks) noexcept {
    return std::ranges::all_of(text, [marks](char c) { return is_one_of(c, marks); });
}

bool is_scheme(std::string_view text) noexcept {
    return !text.empty() && is_letter(text.front()) && all_of(text, "+-.");
}

bool is_port(std::string_view text) noexcept {
    std::uint64_t port = 0;
    auto const* const end = text.data() + text.size();
    auto const [at, error] = std::from_chars(text.data(), end, port);
    return error == std::errc{} && at == end && port > 0 && port <= std::numeric_limits<std::uint16_t>::max();
}

// name, name:port, [address] or [address]:port
bool is_place(std::string_view text) noexcept {
    auto const is_address = text.starts_with('[');
    auto const end = is_address ? std::min(text.find(']'), text.size() - 1) + 1 : std::min(text.find(':'), text.size());
    auto const host = text.substr(0, end);
    auto const rest = text.substr(end);
    if (!rest.empty() && (rest.front() != ':' || !is_port(rest.substr(1)))) return false;
    if (is_address) return host.size() > 2 && host.ends_with(']') && all_of(host.substr(1, host.size() - 2), ":.");
    return !host.empty() && all_of(host, "-._");
}

} // namespace

std::vector<std::string> key_list_faults(std::string_view list) {
    std::vector<std::string> faults;
    if (list.empty()) return faults;
    auto const keys = policy::ApiKeys::split(list);
    if (keys.empty()) faults.emplace_back("is set, but names no key; write keys separated by commas, or leave it out");
    for (std::size_t i = 0; i < keys.size(); ++i) {
        auto const which = "key " + std::to_string(i + 1) + " of " + std::to_string(keys.size());
        // Other bytes than ASCII are let through by the gate: such a key is odd, but it works.
        auto const has_controls = std::ranges::any_of(keys[i], [](unsigned char c) { return c < ' ' || c == 0x7f; });
        if (has_controls) faults.push_back(which + " has control characters: no request can bring it");
        if (keys[i].size() > policy::ApiKeys::kKeyBytesMax) {
            faults.push_back(which + " has more than " + std::to_string(policy::ApiKeys::kKeyBytesMax) +
                             " characters: no request may bring one as long");
        }
    }
    return faults;
}

std::string header_name_fault(std::string_view name) {
    if (core::is_header_name(name)) return {};
    return "'" + std::string(name) + "' is not the name of a header: letters, digits and hyphens, as in x-session-id";
}

std::string normal_origin(std::string_view origin) {
    auto normal = core::ascii_lower(origin);
    // Hosts of other schemes are opaque, and are sent as they were given to the page.
    if (!normal.starts_with("http://") && !normal.starts_with("https://")) return std::string(origin);
    for (auto const& [scheme, port] : {std::pair<std::string_view, std::string_view>{"http://", ":80"},
                                       std::pair<std::string_view, std::string_view>{"https://", ":443"}}) {
        if (normal.starts_with(scheme) && normal.ends_with(port)) normal.resize(normal.size() - port.size());
    }
    return normal;
}

std::string origin_fault(std::string_view origin) {
    if (origin == "null") return {}; // pages from a file, and others that are from nowhere
    auto const marks = origin.find("://");
    auto const is_origin = marks != std::string_view::npos && is_scheme(origin.substr(0, marks)) &&
                           origin.size() > marks + 3 && is_place(origin.substr(marks + 3));
    if (is_origin) return {};
    auto text =
        "'" + std::string(origin) + "' is no origin: scheme://host or scheme://host:port, as browsers send it (";
    text += origin.find('*') != std::string_view::npos ? "each is written out, there is no wildcard" : "no path";
    return text + "), as in https://chat.example.org";
}

} // namespace parley::server

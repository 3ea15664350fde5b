// The offset of an IANA time zone at a moment, read from the system's zone files. A thread-safe stand-in for TZ and
// localtime, which know one zone per process (the standard library of Debian 12 has no zones yet).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace parley::agents {

struct ZoneOffset {
    std::int64_t seconds = 0; // east of UTC
    std::string abbreviation; // CET, EST, +03 ...
};

/// True for what can be a zone's name: Area/City; never a path that leaves the folder.
bool is_zone_name(std::string_view name) noexcept;

/// The bytes of the zone's file, or nothing when there is no such zone (or no zone files at all). Blocks on the disk.
std::optional<std::string> read_zone_file(std::string_view name);

/// Reads TZif (RFC 8536, versions 1 to 4) with its rule for later years. nullopt for what is no such file.
std::optional<ZoneOffset> zone_offset(std::string_view tzif, std::int64_t unix_seconds);

} // namespace parley::agents

// The words of the Model Context Protocol, and JSON-RPC 2.0 as far as it uses it. Source: the specification's schema of
// each version. Pure functions and plain data.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace parley::mcp {

inline constexpr std::string_view kModernVersion = "2026-07-28";
inline constexpr std::string_view kLegacyVersion = "2025-11-25"; // what we ask for; a server may answer an older one
inline constexpr std::array<std::string_view, 4> kLegacyVersions{"2025-11-25", "2025-06-18", "2025-03-26",
                                                                 "2024-11-05"};

inline constexpr std::string_view kMetaVersion = "io.modelcontextprotocol/protocolVersion";
inline constexpr std::string_view kMetaCapabilities = "io.modelcontextprotocol/clientCapabilities";
inline constexpr std::string_view kMetaClientInfo = "io.modelcontextprotocol/clientInfo";

inline constexpr std::size_t kMessageBytesMax = 32 * 1024 * 1024; // one message of a server
inline constexpr std::size_t kMessageDepthMax = 128;

// Error codes that mean something to us.
inline constexpr std::int64_t kMethodNotFound = -32601;
inline constexpr std::int64_t kInvalidParams = -32602;
inline constexpr std::int64_t kInternalError = -32603;
inline constexpr std::int64_t kHeaderMismatch = -32020;
inline constexpr std::int64_t kMissingCapability = -32021;
inline constexpr std::int64_t kUnsupportedVersion = -32022;

/// True for the errors that only a server of the modern era gives.
bool is_modern_error(std::int64_t code) noexcept;

struct RpcError {
    std::int64_t code = 0;
    std::string message = {};
    boost::json::value data = nullptr;
};

/// What a server answered.
struct Reply {
    boost::json::object result = {};
    std::optional<RpcError> error = {};
    int http_status = 0; // of an error that came with one, 0 = none
};

/// One message as it came. Exactly one of the three kinds.
struct Message {
    enum class Kind : std::uint8_t { kRequest, kNotification, kResponse };
    Kind kind = Kind::kNotification;
    boost::json::value id = nullptr; // kRequest: as the server gave it. kResponse: ours
    std::string method = {};
    boost::json::object params = {};
    Reply reply = {};
};

/// Parses bounded JSON. Errors: kUpstreamInvalid.
core::Result<boost::json::value> parse_json(std::string_view text);

/// Errors: kUpstreamInvalid for what is not JSON-RPC.
core::Result<Message> to_message(boost::json::value&& json);

/// The JSON-RPC error in an HTTP error's body, if there is one.
std::optional<RpcError> error_in(std::string_view body);

std::string make_request(std::int64_t id, std::string_view method, boost::json::object const& params);
std::string make_notification(std::string_view method, boost::json::object const& params);
std::string make_response(boost::json::value const& id, boost::json::object const& result);
std::string make_error_response(boost::json::value const& id, std::int64_t code, std::string_view message);

/// A string member, empty when absent or of another type.
std::string_view text_in(boost::json::object const& object, std::string_view key) noexcept;

/// An object member, nullptr when absent or of another type.
boost::json::object const* object_in(boost::json::object const& object, std::string_view key) noexcept;

/// Text without control characters and of bounded length, for logs and people: servers say what they like.
std::string plain_text(std::string_view text, std::size_t bytes_max = 500);

} // namespace parley::mcp

// What is known about one MCP server before it is started: checked settings, variables put in.
// Immutable once built; shared by the catalogue snapshot and the host. Its address is the identity of a server: a
// reload that changes nothing keeps it, and with it the sessions.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/secret.hpp"

namespace parley::mcp {

enum class Transport : std::uint8_t {
    kStdio,
    kHttp,      // Streamable HTTP
    kSse,       // legacy HTTP+SSE (2024-11-05)
    kHttpOrSse, // Streamable HTTP first, legacy SSE if the server does not know it
};

/// Which protocol is spoken. kAuto asks the server (facts: specification "Versioning", 2026-07-28).
enum class Era : std::uint8_t { kAuto, kLegacy, kModern };

/// What happens when a definition that was seen before comes back changed ("rug pull").
enum class PinPolicy : std::uint8_t { kOff, kWarn, kBlock };

/// What a server that asks the user something is told, since no user is there to ask.
enum class Elicitation : std::uint8_t { kDecline, kDefaults };

/// OAuth 2.1 as a client. Everything may be empty: then the server's challenge decides (discovery, registration).
struct OAuthOptions {
    enum class Grant : std::uint8_t {
        kAuto,              // client credentials where a secret or a key is given, else authorization code
        kAuthorizationCode, // needs somebody to approve: see mcp/auth.hpp
        kClientCredentials,
        kJwtBearer,     // workload identity: `assertion` is the token to exchange
        kTokenExchange, // enterprise-managed: `assertion` is the identity provider's id token
    };

    Grant grant = Grant::kAuto;
    std::string client_id = {};
    core::Secret client_secret = {};
    core::Secret private_key_pem = {};    // private_key_jwt
    std::string signing_algorithm = {};   // of private_key_pem; empty = ES256
    std::string client_metadata_url = {}; // a client metadata document (CIMD) that names us
    std::string redirect_uri = {};        // of kAuthorizationCode
    std::vector<std::string> scopes = {}; // asked for besides what the server wants
    core::Secret assertion = {};
    std::string idp_issuer = {}; // kTokenExchange: where the id token comes from
    std::string idp_token_url = {};
    std::string idp_client_id = {};
    core::Secret idp_client_secret = {};
    bool dpop = false;       // proof of possession even where the server does not ask for it
    std::string issuer = {}; // whom client_id, secret, key and assertion are for; empty = whom the server names first

    bool operator==(OAuthOptions const&) const = default;
};

struct ServerSpec {
    std::string label; // goes before its tools: label__tool
    Transport transport = Transport::kStdio;
    Era era = Era::kAuto;

    std::string command = {}; // stdio
    std::vector<core::Secret> args = {};
    std::vector<std::pair<std::string, core::Secret>> env = {}; // besides PATH, HOME, LANG, TZ and their like
    std::string cwd = {};

    core::Secret url = {};      // HTTP; may hold a key as a query
    std::string url_shown = {}; // for logs
    /// Values may hold {{user_id}}, {{session_id}}, {{agent_id}}, {{request_id}}; an empty x-user-id means {{user_id}}.
    std::vector<std::pair<std::string, core::Secret>> headers = {};
    std::vector<std::string> forward_headers = {}; // of the client's request; never credentials or cookies
    OAuthOptions oauth = {};
    std::string ca_file = {};

    bool eager = false;  // start with the gateway instead of at the first use
    bool shared = false; // one session for all principals
    std::chrono::milliseconds connect_timeout{10'000};
    std::chrono::milliseconds start_timeout{30'000}; // handshake; npx and uvx may download first
    std::chrono::milliseconds list_timeout{30'000};
    std::chrono::milliseconds call_idle_timeout{60'000}; // reset by progress
    std::chrono::milliseconds call_timeout{300'000};     // whatever progress says
    std::chrono::milliseconds tools_ttl{300'000};        // MCP_TOOL_CACHE_TTL
    std::chrono::milliseconds idle_stop{900'000};        // an unused session is closed; 0 = never
    std::size_t calls_max = 16;                          // at once, the rest waits
    std::size_t result_bytes_max = 100 * 1024;           // of text for the model: head 70 %, tail 30 %
    PinPolicy pins = PinPolicy::kWarn;
    Elicitation elicitation = Elicitation::kDecline;
    std::string sampling = {};           // the agent that answers what the server asks of a model; empty = declined
    std::vector<std::string> roots = {}; // file:// URIs; empty = the capability is not offered
    bool protocol_fixture = false;       // conformance runs: every capability is offered, sampling answers a stub

    bool operator==(ServerSpec const&) const = default;
};

} // namespace parley::mcp

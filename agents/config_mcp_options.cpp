// The keys of a server that are ours alone, and those of OAuth; see config_parts.hpp.
// Owned by one load of the configuration; reads key files and .env files, which hold secrets, through its FileReader.
// Source of the foreign ones: Cursor (auth), LiteLLM (auth_type, extra_headers), FastMCP (auth as a word).
#include <algorithm>
#include <array>
#include <filesystem>

#include "agents/config_json.hpp"
#include "agents/config_parts.hpp"
#include "core/ascii.hpp"
#include "core/dotenv.hpp"

namespace parley::agents {
namespace {

namespace json = boost::json;
using mcp::Elicitation;
using mcp::Era;
using mcp::PinPolicy;
using Grant = mcp::OAuthOptions::Grant;

constexpr std::array<std::string_view, 23> kOptionKeys{"era",
                                                       "sampling",
                                                       "eager",
                                                       "shared",
                                                       "connect_timeout_ms",
                                                       "start_timeout_ms",
                                                       "idle_timeout_ms",
                                                       "result_bytes_max",
                                                       "pins",
                                                       "elicitation",
                                                       "roots",
                                                       "forward_headers",
                                                       "extra_headers",
                                                       "calls_max",
                                                       "ca_file",
                                                       "oauth",
                                                       "auth",
                                                       "auth_type",
                                                       "auth_value",
                                                       "auth_token",
                                                       "timeout",
                                                       "timeout_ms",
                                                       "idle_stop_ms"};
constexpr std::array<std::string_view, 2> kForwardKeys{"forward_headers", "extra_headers"};
constexpr std::array<std::string_view, 2> kAuthValueKeys{"auth_value", "auth_token"};
constexpr std::array<std::string_view, 2> kEnvFileKeys{"env_file", "envFile"};

constexpr std::array<Choice<Era>, 3> kEras{{{"auto", Era::kAuto}, {"legacy", Era::kLegacy}, {"modern", Era::kModern}}};
constexpr std::array<Choice<PinPolicy>, 3> kPins{
    {{"off", PinPolicy::kOff}, {"warn", PinPolicy::kWarn}, {"block", PinPolicy::kBlock}}};
constexpr std::array<Choice<Elicitation>, 2> kElicitations{
    {{"decline", Elicitation::kDecline}, {"defaults", Elicitation::kDefaults}}};
constexpr std::array<Choice<Grant>, 5> kGrants{{{"auto", Grant::kAuto},
                                                {"authorization_code", Grant::kAuthorizationCode},
                                                {"client_credentials", Grant::kClientCredentials},
                                                {"jwt_bearer", Grant::kJwtBearer},
                                                {"token_exchange", Grant::kTokenExchange}}};
constexpr std::array<std::string_view, 18> kOAuthKeys{"grant",
                                                      "client_id",
                                                      "client_secret",
                                                      "private_key_pem",
                                                      "private_key_file",
                                                      "signing_algorithm",
                                                      "client_metadata_url",
                                                      "redirect_uri",
                                                      "scopes",
                                                      "scope",
                                                      "assertion",
                                                      "dpop",
                                                      "issuer",
                                                      "idp_issuer",
                                                      "idp_token_url",
                                                      "idp_client_id",
                                                      "idp_client_secret",
                                                      "$comment"};
constexpr std::array<std::string_view, 6> kAuthTypes{"none",  "api_key",       "bearer_token",
                                                     "basic", "authorization", "oauth2"};

constexpr std::int64_t kTimeoutMaxMs = 86'400'000;
constexpr std::int64_t kTimeoutIsMsFrom = 1'000; // below, hosts mean seconds (Cline); from here milliseconds (Gemini)
constexpr std::int64_t kResultBytesMin = 1'024;
constexpr std::int64_t kResultBytesMax = 16 << 20;
constexpr std::int64_t kCallsMax = 1'024;

// Credentials of the client are for us, and what frames a request is for the transport.
constexpr std::array<std::string_view, 12> kNeverForwarded{
    "authorization", "proxy-authorization", "cookie", "set-cookie",        "x-api-key", "api-key", "content-length",
    "host",          "connection",          "te",     "transfer-encoding", "upgrade"};

// A path in mcp.json is relative to that file.
std::string beside(std::string const& file, std::string const& path) {
    return (std::filesystem::path(file).parent_path() / path).lexically_normal().string();
}

void read_timeouts(ObjectReader const& reader, McpServerConfig& server) {
    using std::chrono::milliseconds;
    auto const take = [&reader](std::string_view key, std::int64_t min, milliseconds& target) {
        if (auto const ms = reader.integer(key, min, kTimeoutMaxMs)) target = milliseconds(*ms);
    };
    auto call = reader.integer("timeout_ms", 1, kTimeoutMaxMs);
    if (!call) {
        call = reader.integer("timeout", 1, kTimeoutMaxMs);
        if (call && *call < kTimeoutIsMsFrom) *call *= 1000;
    }
    // Whoever says how long a call may take means one that is silent, too.
    if (call) server.call_timeout = server.call_idle_timeout = milliseconds(*call);
    take("connect_timeout_ms", 1, server.connect_timeout);
    take("start_timeout_ms", 1, server.start_timeout);
    take("idle_timeout_ms", 1, server.call_idle_timeout);
    take("idle_stop_ms", 0, server.idle_stop);
    if (!call) server.call_timeout = std::max(server.call_timeout, server.call_idle_timeout);
}

void read_forwarded(ObjectReader const& reader, McpServerConfig& server) {
    auto const key = one_of(reader, kForwardKeys);
    if (!key) return;
    auto names = reader.texts(*key).value_or(std::vector<std::string>{});
    for (auto& name : names) {
        name = core::ascii_lower(name);
        if (std::find(kNeverForwarded.begin(), kNeverForwarded.end(), name) == kNeverForwarded.end()) continue;
        reader.fault(*key, in_quotes(name), "names of headers that are neither credentials nor part of the transport",
                     "tokens of clients are for this gateway only; give the server its own under \"headers\"");
    }
    server.forward_headers = std::move(names);
}

void read_key_file(ObjectReader const& reader, mcp::OAuthOptions& oauth, FileReader const& read,
                   McpServerConfig& server) {
    auto const file = reader.text_not_empty("private_key_file");
    if (!file) return;
    auto pem = read(beside(reader.scope().file, *file));
    if (pem) {
        oauth.private_key_pem = core::Secret(std::move(*pem));
    } else {
        server.unavailable = "the key file " + in_quotes(*file) + " cannot be read: " + pem.error().message;
    }
}

void read_oauth(ObjectReader const& reader, McpServerConfig& server, FileReader const& read) {
    auto& oauth = server.oauth;
    for (auto const& member : reader.object()) {
        std::string_view const key(member.key().data(), member.key().size());
        if (std::find(kOAuthKeys.begin(), kOAuthKeys.end(), key) != kOAuthKeys.end()) continue;
        auto const hint = did_you_mean(key, kOAuthKeys);
        reader.scope().warnings.push_back(reader.scope().file + ": " + join_pointer(reader.pointer(), key) +
                                          " is not known here and has no effect" + (hint.empty() ? "" : "; " + hint));
    }
    auto const secret = [&reader](std::string_view key, core::Secret& target) {
        if (auto text = read_one_line(reader, key)) target = core::Secret(std::move(*text));
    };
    auto const text = [&reader](std::string_view key, std::string& target) {
        if (auto value = reader.text(key)) target = std::move(*value);
    };
    oauth.grant = reader.choice<Grant>("grant", kGrants).value_or(oauth.grant);
    if (auto id = read_one_line(reader, "client_id")) oauth.client_id = std::move(*id);
    secret("client_secret", oauth.client_secret);
    if (auto pem = reader.text("private_key_pem")) oauth.private_key_pem = core::Secret(std::move(*pem));
    read_key_file(reader, oauth, read, server);
    text("signing_algorithm", oauth.signing_algorithm);
    text("client_metadata_url", oauth.client_metadata_url);
    text("redirect_uri", oauth.redirect_uri);
    if (auto scopes = reader.texts("scopes")) oauth.scopes = std::move(*scopes);
    if (auto scope = reader.text("scope"); scope && oauth.scopes.empty()) oauth.scopes.push_back(std::move(*scope));
    secret("assertion", oauth.assertion);
    text("issuer", oauth.issuer);
    text("idp_issuer", oauth.idp_issuer);
    text("idp_token_url", oauth.idp_token_url);
    text("idp_client_id", oauth.idp_client_id);
    secret("idp_client_secret", oauth.idp_client_secret);
    oauth.dpop = reader.boolean("dpop").value_or(oauth.dpop);
}

void set_header(McpServerConfig& server, std::string name, std::string value) {
    if (!has_header(server.headers, name)) server.headers.emplace_back(std::move(name), core::Secret(std::move(value)));
}

// Cursor: an object; FastMCP: "oauth", or the token itself.
void read_auth(ObjectReader const& reader, McpServerConfig& server, std::vector<std::string>& unset) {
    auto const* auth = reader.find("auth");
    if (auth == nullptr) return;
    if (auth->is_string()) {
        auto const token = read_one_line(reader, "auth");
        if (token && !token->empty() && *token != "oauth") set_header(server, "Authorization", "Bearer " + *token);
        return;
    }
    auto const* object = reader.object("auth");
    if (object == nullptr) return;
    ObjectReader const inner(reader.scope(), *object, join_pointer(reader.pointer(), "auth"), unset);
    server.oauth.client_id = read_one_line(inner, "CLIENT_ID").value_or("");
    server.oauth.client_secret = core::Secret(read_one_line(inner, "CLIENT_SECRET").value_or(""));
    server.oauth.scopes = inner.texts("scopes").value_or(std::vector<std::string>{});
}

// LiteLLM: how `auth_value` is sent.
void read_auth_type(ObjectReader const& reader, McpServerConfig& server) {
    auto const type = reader.text("auth_type");
    auto const key = one_of(reader, kAuthValueKeys);
    auto const value = key ? read_one_line(reader, *key) : std::nullopt;
    if (!type) return;
    if (std::find(kAuthTypes.begin(), kAuthTypes.end(), *type) == kAuthTypes.end()) {
        reader.fault("auth_type", in_quotes(reader.written("auth_type")), joined(kAuthTypes),
                     did_you_mean(*type, kAuthTypes));
        return;
    }
    if (!value || value->empty()) return;
    if (*type == "api_key") set_header(server, "X-API-Key", *value);
    if (*type == "bearer_token") set_header(server, "Authorization", "Bearer " + *value);
    if (*type == "basic") set_header(server, "Authorization", "Basic " + *value);
    if (*type == "authorization") set_header(server, "Authorization", *value);
}

void read_env_file(ObjectReader const& reader, McpServerConfig& server, FileReader const& read) {
    auto const key = one_of(reader, kEnvFileKeys);
    if (!key) return;
    server.env_file = reader.text(*key).value_or("");
    if (server.env_file.empty()) return;
    auto const bytes = read(beside(reader.scope().file, server.env_file));
    if (!bytes) {
        server.unavailable = "its env_file " + in_quotes(server.env_file) + " cannot be read: " + bytes.error().message;
        return;
    }
    auto const parsed = core::parse_dotenv(*bytes);
    for (auto const& fault : parsed.faults) {
        reader.scope().warnings.push_back(server.env_file + ": line " + std::to_string(fault.line) + ": " +
                                          fault.problem);
    }
    for (auto const& entry : parsed.entries) { // of a name given twice the last one counts; "env" itself before all
        auto const own = std::any_of(server.env.begin(), server.env.end(),
                                     [&](auto const& known) { return known.first == entry.name; });
        if (!own) server.env.emplace_back(entry.name, core::Secret(*parsed.find(entry.name)));
    }
}

} // namespace

std::span<std::string_view const> mcp_option_keys() noexcept {
    return kOptionKeys;
}

void read_mcp_options(ObjectReader const& reader, McpServerConfig& server, FileReader const& read,
                      std::vector<std::string>& unset) {
    server.era = reader.choice<Era>("era", kEras).value_or(server.era);
    server.eager = reader.boolean("eager").value_or(server.eager);
    server.shared = reader.boolean("shared").value_or(server.shared);
    server.pins = reader.choice<PinPolicy>("pins", kPins).value_or(server.pins);
    server.elicitation = reader.choice<Elicitation>("elicitation", kElicitations).value_or(server.elicitation);
    if (auto agent = reader.text_not_empty("sampling")) server.sampling = std::move(*agent);
    read_timeouts(reader, server);
    if (auto const bytes = reader.integer("result_bytes_max", kResultBytesMin, kResultBytesMax))
        server.result_bytes_max = static_cast<std::size_t>(*bytes);
    if (auto const calls = reader.integer("calls_max", 1, kCallsMax))
        server.calls_max = static_cast<std::size_t>(*calls);
    if (auto roots = reader.texts("roots")) {
        for (auto const& root : *roots) {
            if (!root.starts_with("file://"))
                reader.fault("roots", in_quotes(root), "file:// URIs, which is all that the protocol knows as roots");
        }
        server.roots = std::move(*roots);
    }
    if (auto const file = reader.text_not_empty("ca_file")) {
        server.ca_file = beside(reader.scope().file, *file);
        auto const bytes = read(server.ca_file);
        if (!bytes) {
            server.unavailable = "its ca_file " + in_quotes(*file) + " cannot be read: " + bytes.error().message;
        }
    }
    read_forwarded(reader, server);
    read_env_file(reader, server, read);
    read_auth(reader, server, unset);
    read_auth_type(reader, server);
    if (auto const* oauth = reader.object("oauth")) {
        ObjectReader const inner(reader.scope(), *oauth, join_pointer(reader.pointer(), "oauth"), unset);
        read_oauth(inner, server, read);
    }
}

} // namespace parley::agents

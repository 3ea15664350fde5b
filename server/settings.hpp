// How the process is to run: from flags, the environment, .env and defaults, in this order of precedence.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/log.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"
#include "net/http_server.hpp"

namespace parley::server {

/// Variables as the configuration sees them: the process environment over the .env file. Empty = not set.
class Environment {
public:
    /// Reads `dotenv_path` if it exists. Errors: kInvalidValue for a file that is there and cannot be read, and listing
    /// the lines at fault.
    static core::Result<Environment> load(std::string const& dotenv_path);

    std::optional<std::string> find(std::string_view name) const;

private:
    std::map<std::string, std::string, std::less<>> dotenv_;
};

/// What the command line said; an empty optional leaves the word to the environment.
struct Flags {
    std::optional<std::string> host;
    std::optional<std::uint16_t> port;
    std::optional<std::string> config;
    std::optional<std::string> mcp;
    std::optional<std::string> data;
    std::optional<unsigned> threads;
    std::optional<std::string> log; // text or json
    bool allow_anonymous = false;
    bool debug = false;
};

struct Settings {
    std::string host = "127.0.0.1";
    std::uint16_t port = 8000;
    std::string config_path = "agent_config.json";
    std::string mcp_path = "mcp.json";
    bool mcp_required = false; // named on purpose: must exist
    std::string prompts_dir = "prompts";
    std::string data_dir = "data";
    unsigned threads = 1;
    bool allow_anonymous = false;
    core::LogOptions log = {};
    bool log_texts = false;     // at debug, what providers say of an error: it may repeat what was said to an agent
    core::Secret api_keys = {}; // the list as given; policy::ApiKeys keeps digests only
    std::vector<std::string> cors_origins = {};
    std::string tls_certificate = {};
    std::string tls_key = {};
    core::Secret database_dsn = {};           // of Postgres; empty = SQLite in the data folder
    core::Secret user_jwt_secret = {};        // of the tokens in which Open WebUI names its users
    core::Secret forwarder_keys = {};         // keys that may name users in plain headers; API keys themselves
    std::string user_jwt_header = {};         // lower case; empty = the default
    std::vector<std::string> user_headers;    // lower case; empty = the default
    std::vector<std::string> session_headers; // where a request names its conversation, the first match counts
    std::chrono::milliseconds cleanup_interval{3'600'000}; // of conversations whose time is over
    std::size_t requests_max = 0;                          // chat requests at once, in all loops together; 0 = no limit
    std::chrono::milliseconds drain_limit{600'000};
    net::ServerLimits limits = {};

    bool loopback_only() const;

    /// Whether requests have to bring a key: one is named. A list that names none does not ask for one.
    bool wants_keys() const;
};

/// All faults at once, one line each: "NAME=value: must be …" or "NAME: …".
struct SettingsResult {
    Settings settings;
    std::vector<std::string> faults;
    std::vector<std::string> variables; // that were looked for
};

SettingsResult make_settings(Flags const& flags, Environment const& environment);

} // namespace parley::server

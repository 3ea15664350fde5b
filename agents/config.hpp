// What agent_config.json and mcp.json say, as plain data: checked, variables put in, prompts read.
// Built by config_loader.hpp, then immutable; the catalogue snapshot keeps one and shares it with all loops.
// Whatever may hold a secret is a core::Secret: this data can be logged member by member without leaking one.
#pragma once

#include <boost/json/object.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/secret.hpp"
#include "mcp/server_spec.hpp"

namespace parley::agents {

/// One thing wrong with the configuration. Never holds a secret: quotes are taken from the file as written, before
/// variables are put in, and never from a field that is made for a secret.
struct Fault {
    std::string file;    // path as given, or "environment"
    std::string pointer; // JSON pointer in the file ("" = the whole file), or the name of the environment variable
    std::string found;
    std::string allowed;
    std::string hint = {}; // what to do, e.g. the nearest valid key; may be empty
    int line = 0;          // 1-based line in the file, 0 = unknown
    int column = 0;        // 1-based byte in that line, only for JSON syntax; 0 = unknown
};

/// A readable block of two to four lines, no trailing newline.
std::string to_text(Fault const& fault);

/// {"file","pointer","found","allowed"} and, where known, "hint", "line", "column".
boost::json::object to_json(Fault const& fault);

/// A file that the configuration was made from.
struct Manifest {
    std::string path;
    std::string sha256; // of the bytes on disk, so unexpanded; 64 lower-case hex digits
};

struct ProviderTimeouts {
    std::chrono::milliseconds connect{5'000}; // TCP and TLS
    std::chrono::milliseconds first_byte{
        300'000}; // request sent until the head of the answer, which an unstreamed one has last
    std::chrono::milliseconds idle{60'000};   // between two reads of the answer
    std::chrono::milliseconds total{600'000}; // the whole call

    bool operator==(ProviderTimeouts const&) const = default;
};

/// US dollars per million tokens.
struct ModelPrice {
    double input = 0;
    double cached_input = 0; // what the provider had read before
    double output = 0;

    bool operator==(ModelPrice const&) const = default;
};

struct ProviderConfig {
    struct Entra {
        std::string tenant_id;
        std::string client_id;
        core::Secret client_secret;
        std::string token_url; // where a token is asked for, complete

        bool operator==(Entra const&) const = default;
    };
    struct Endpoint {
        std::string base_url; // as ProviderConfig::base_url
        core::Secret api_key;
        double weight = 1;

        bool operator==(Endpoint const&) const = default;
    };

    std::string name;                     // the entry's name, or the type for a default instance
    std::string type;                     // openai, azure_openai, azure_openai_cc, openrouter, ollama, demo
    std::string base_url;                 // http(s), no trailing slash, no user, no query; empty only for demo
    core::Secret api_key;                 // may be empty where the server wants none
    std::vector<Endpoint> endpoints = {}; // several addresses or keys; empty = the two above are the only one
    std::optional<Entra> entra = {};
    std::vector<std::pair<std::string, core::Secret>> headers = {};
    ProviderTimeouts timeouts = {};
    std::size_t max_connections = 4096;   // per loop
    int max_retries = 2;                  // of a model call that failed everywhere, with growing pauses
    std::vector<std::string> models = {}; // what it offers, as far as told; the first is the default
    std::map<std::string, ModelPrice, std::less<>> prices = {}; // by model
    std::string default_model = {};                             // for agents that name none; may be empty
    std::string api_version = {};                               // Azure, classic URLs only
    std::string ca_file = {};         // PEM of further trusted authorities; empty = the system's only
    boost::json::object options = {}; // free, for the dialect
    std::string unavailable = {};     // why it cannot be used, naming the variable; empty = ready

    bool operator==(ProviderConfig const&) const = default;
};

enum class ClientTools : std::uint8_t {
    kAuto,
    kMerge,
    kIgnore,
    kReject
}; // kAuto: merge, but for what a client
   // brings of its own accord
enum class HistoryMode : std::uint8_t { kAuto, kClient, kServer };
enum class TaskPolicy : std::uint8_t { kHeuristic, kAgent, kEmpty };
enum class ToolProgress : std::uint8_t { kAuto, kQuiet, kReasoning, kOpenWebui, kEvents }; // kAuto: by the client

struct AgentLimits {
    std::int64_t max_tool_rounds = 10;
    std::int64_t max_tool_calls = 64;
    std::int64_t timeout_s = 600;             // wall clock of one run; REQUEST_TIMEOUT changes the default
    std::int64_t max_total_tokens = 0;        // 0 = no limit
    std::int64_t parallel_tool_calls_max = 8; // at once, of one round
};

struct MemoryCompression {
    bool enabled = true;
    std::int64_t threshold_tokens = 10'000; // MEMORY_COMPRESSION_TOKEN_THRESHOLD changes the default
    std::int64_t recent_messages_to_keep = 10;
    std::string summary_agent = {};     // agent_id of who writes the summaries, empty = the agent itself
    bool archive_conversations = false; // carried only
};

// nullopt = all, empty = none, else only those. An entry may be a pattern: * = any text, ? = one character.
using AllowedNames = std::optional<std::vector<std::string>>;
using AllowedServers = std::optional<std::map<std::string, AllowedNames, std::less<>>>; // label -> tools

struct AgentConfig {
    std::string agent_id;
    std::string name = {}; // empty = agent_id
    std::string description = {};
    std::string version = {}; // semver, empty = not given
    std::vector<std::string> tags = {};
    std::vector<std::string> suggestion_prompts = {}; // what a user may begin with, for clients that show it
    std::string provider;                             // names an entry of GatewayConfig::providers
    std::string model = {};                           // may be empty only while the agent's own model is unavailable
    std::string system_prompt = {};
    boost::json::object model_settings = {};
    std::vector<std::string> fallbacks = {}; // agent ids whose provider and model stand in, in this order
    AgentLimits limits = {};
    ClientTools client_tools = ClientTools::kAuto;
    HistoryMode history = HistoryMode::kAuto;
    TaskPolicy task_policy = TaskPolicy::kHeuristic;
    ToolProgress tool_progress = ToolProgress::kAuto;
    AllowedNames allowed_regular_tools = {};
    AllowedServers allowed_mcp_servers = {};
    bool vision = false; // images that tools give are shown to the model
    AllowedNames resources = {};
    MemoryCompression compression = {};
    std::int64_t retention_hours = 0; // since a conversation was used last; 0 = for ever
    boost::json::object carried = {}; // fields of the original format that have no effect here
    std::string own_unavailable = {}; // why its own provider or model cannot be used; empty = it can
    std::string unavailable = {};     // why nothing can answer for it: own_unavailable and no usable fallback
};

using McpTransport = mcp::Transport;

enum class Approval : std::uint8_t { kNever, kAlways };

/// A server as mcp.json has it: what the host needs to know, and who may use what of it.
struct McpServerConfig : mcp::ServerSpec {
    std::string env_file = {}; // already read into env, where env itself says nothing
    Approval require_approval = Approval::kNever;
    bool disabled = false;
    AllowedNames allowed_tools = {};
    std::vector<std::string> denied_tools = {}; // names or patterns
    boost::json::object carried = {};           // keys of other hosts that have no effect here, as written
    std::string unavailable = {};               // why it cannot be started; empty = ready
};

struct GatewayConfig {
    std::vector<ProviderConfig> providers;
    std::vector<AgentConfig> agents;
    std::vector<McpServerConfig> mcp_servers;
    std::vector<Manifest> manifests; // agent_config.json, mcp.json if there is one, each prompt file once
};

} // namespace parley::agents

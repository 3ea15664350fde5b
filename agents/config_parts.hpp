// The parts of configuration loading, each in its own source file; put together by config_loader.cpp.
// Internal to this room: nobody else includes it.
// Everything here runs within one call of load_config, on one thread.
#pragma once

#include <boost/json/object.hpp>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agents/config.hpp"
#include "agents/config_loader.hpp"
#include "agents/config_reader.hpp"

namespace parley::agents {

// ---- config_headers.cpp

using Headers = std::vector<std::pair<std::string, core::Secret>>;

/// A text that goes into the head of a request, such as a key: without the white space and line ends around it, which
/// a mounted secret brings along. A line end or control character inside is a fault.
std::optional<std::string> read_one_line(ObjectReader const& reader, std::string_view key);

/// The object `key` of header to value, each value as read_one_line() has it. Also a fault: what is no name of a
/// header, and one given twice.
std::optional<Headers> read_headers(ObjectReader const& reader, std::string_view key);

/// Names of headers have no case.
bool is_same_header(std::string_view one, std::string_view other);
bool has_header(Headers const& headers, std::string_view name);

// ---- config_providers.cpp, config_provider_defaults.cpp

/// What is known about one provider type.
struct ProviderType {
    std::string_view name;
    std::string_view env_prefix;       // OPENAI for OPENAI_API_KEY, ...; empty = nothing comes from the environment
    std::string_view default_base_url; // empty = there is none
    std::string_view default_model;    // for the default instance when the environment names none
    bool is_azure = false;
};

/// The header that the key of `config` is sent in; one of that name among its `headers` is sent instead.
std::string_view key_header(ProviderConfig const& config, ProviderType const& type) noexcept;

ProviderType const* find_provider_type(std::string_view name) noexcept;
std::vector<std::string_view> provider_type_names();

/// Why `url` cannot be a base_url; nothing when it can.
std::optional<std::string> base_url_problem(std::string_view url);

/// Fills what `config` leaves open from the environment and the defaults of `type`, and says in `unavailable` what is
/// still missing. `own_base_url`: the entry names its server itself, so keys and models of the environment, which
/// belong to another server, are left alone.
void complete_provider(ProviderConfig& config, ProviderType const& type, EnvLookup const& env, bool own_base_url,
                       bool own_key, std::vector<std::string>& warnings);

/// The providers of the file, and on demand the default instances of types.
class ProviderBook {
public:
    ProviderBook(EnvLookup const& env, FileReader const& read) : env_(env), read_(read) {}

    void read_entries(FileScope& scope, boost::json::object const& providers, std::string const& pointer);

    /// The entry named `name`, else the default instance of the type of that name, else nullptr.
    /// Valid until the next call.
    ProviderConfig const* resolve(std::string_view name, std::vector<std::string>& warnings);

    /// All names that resolve() knows. Valid as long as the book is not changed.
    std::vector<std::string_view> names() const;

    std::vector<ProviderConfig> release() && { return std::move(providers_); }

private:
    void read_entry(FileScope& scope, std::string_view name, boost::json::object const& entry, std::string pointer);

    EnvLookup const& env_;
    FileReader const& read_;
    std::vector<ProviderConfig> providers_;
    std::vector<std::string> broken_; // names whose entry is at fault: referring to them is no second fault
};

// ---- config_agents.cpp

/// Files of prompts, read once each.
class PromptShelf {
public:
    PromptShelf(std::string dir, FileReader const& read, std::vector<Manifest>& manifests)
        : dir_(std::move(dir)), read_(read), manifests_(manifests) {}

    /// The text of `file` (white space around it removed). A fault at `key` of `reader` when there is none.
    std::optional<std::string> read(ObjectReader const& reader, std::string_view key, std::string const& file);

private:
    std::string dir_;
    FileReader const& read_;
    std::vector<Manifest>& manifests_;
    std::map<std::string, std::string> texts_; // by path
};

struct AgentDefaults {
    std::int64_t timeout_s = AgentLimits{}.timeout_s;
    std::int64_t threshold_tokens = MemoryCompression{}.threshold_tokens;
};

/// Reads one agent. Always gives an agent, so that references to it can be checked, also when it is at fault.
AgentConfig read_agent(FileScope& scope, boost::json::object const& object, std::string const& pointer,
                       ProviderBook& providers, PromptShelf& prompts, AgentDefaults const& defaults);

/// Checks what only shows when all agents are known: ids given twice, fallbacks; decides who is unavailable.
/// `pointers[i]` is where agents[i] stands.
void finish_agents(FileScope& scope, std::vector<AgentConfig>& agents, std::vector<std::string> const& pointers);

// ---- config_settings.cpp

/// Warns of what an agent's `model_settings` say that OpenAI would not take, that has no effect, or that is likely
/// misspelt. All of it is sent, since other providers have bounds and members of their own. `whose` begins each
/// warning.
void check_model_settings(FileScope const& scope, boost::json::object const& object, std::string const& pointer,
                          std::vector<std::string>& unset, std::string const& whose);

// ---- config_mcp_roots.cpp

/// Where the servers are in mcp.json: an array of them, or an object that holds them by label. null = a fault, told.
struct McpServersAt {
    boost::json::value const* value = nullptr;
    std::string pointer = {}; // empty = the whole file
};

McpServersAt find_mcp_servers(FileScope& scope, boost::json::value const& root);

/// Whether what stands under `label` at the top of the file was meant as a root: then a fault is told.
bool is_misspelt_root(FileScope& scope, std::string_view label, boost::json::value const& value);

// ---- config_mcp.cpp, config_mcp_options.cpp

/// What a server gets that says nothing else.
struct McpDefaults {
    std::int64_t tools_ttl_s = 300;  // MCP_TOOL_CACHE_TTL
    std::int64_t call_timeout_s = 0; // TOOL_EXECUTION_TIMEOUT, with or without progress; 0 = as ServerSpec has it
};

/// Reads mcp.json in any of the dialects that people have.
std::vector<McpServerConfig> read_mcp_servers(FileScope& scope, boost::json::value const& root,
                                              McpDefaults const& defaults, FileReader const& read);

/// The keys that read_mcp_options knows.
std::span<std::string_view const> mcp_option_keys() noexcept;

/// Reads what is ours alone, or of OAuth: timeouts, era, pins, roots ...
/// `unset` takes the names of variables without value.
void read_mcp_options(ObjectReader const& reader, McpServerConfig& server, FileReader const& read,
                      std::vector<std::string>& unset);

/// The first of `keys` that is there; a second one that says something else is a fault.
std::optional<std::string_view> one_of(ObjectReader const& reader, std::span<std::string_view const> keys);

/// A lookup that knows, besides `env`, what other hosts put in: ${userHome}, ${workspaceFolder}, ${input:x} ...
core::VariableLookup mcp_lookup(EnvLookup env, std::string const& mcp_path);

} // namespace parley::agents

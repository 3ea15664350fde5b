// Puts the configuration together from its files, see config_loader.hpp.
// Owned by nobody: load_config keeps nothing; the disk is read here and nowhere else in this part.
// Every step goes on after a fault, so that one report names all of them.
#include "agents/config_loader.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "agents/config_json.hpp"
#include "agents/config_parts.hpp"
#include "core/glob.hpp"
#include "core/hash.hpp"
#include "core/json.hpp"

namespace parley::agents {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::array<std::string_view, 5> kRootKeys{"$schema", "$comment", "version", "providers", "agents"};

std::string trimmed(std::string_view text) {
    constexpr std::string_view kSpace = " \t\r\n";
    if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
    auto const first = text.find_first_not_of(kSpace);
    if (first == std::string_view::npos) return {};
    return std::string(text.substr(first, text.find_last_not_of(kSpace) - first + 1));
}

// The path of a prompt inside `dir`, or nothing when it would leave it. Lexical: links inside the folder are the
// operator's own (Kubernetes mounts files as links).
std::optional<fs::path> inside(fs::path const& dir, fs::path const& file) {
    auto const base = (dir.empty() ? fs::path(".") : dir).lexically_normal();
    auto joined_path = (base / file).lexically_normal(); // an absolute `file` replaces `base`
    auto const relative = joined_path.lexically_relative(base);
    if (relative.empty() || relative == "." || *relative.begin() == "..") return std::nullopt;
    return joined_path;
}

class Loader {
public:
    explicit Loader(ConfigSources const& sources)
        : sources_(sources),
          read_(sources.read ? sources.read : disk_reader()),
          prompts_(sources.prompts_dir, read_, config_.manifests),
          providers_(sources.env, read_) {}

    LoadedConfig load() && {
        AgentDefaults defaults;
        read_environment("REQUEST_TIMEOUT", 1, 86'400, "seconds", defaults.timeout_s);
        read_environment("MEMORY_COMPRESSION_TOKEN_THRESHOLD", 1, 1'000'000'000, "tokens", defaults.threshold_tokens);
        load_agents(defaults);
        load_mcp();
        check_server_labels();
        check_sampling_agents();
        config_.providers = std::move(providers_).release();
        if (result_.faults.empty()) result_.config = std::move(config_);
        return std::move(result_);
    }

private:
    void read_environment(std::string_view name, std::int64_t min, std::int64_t max, std::string_view unit,
                          std::int64_t& target) {
        auto const text = sources_.env ? sources_.env(name) : std::nullopt;
        if (!text || text->empty()) return;
        std::int64_t value = 0;
        auto const [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
        if (error == std::errc{} && end == text->data() + text->size() && value >= min && value <= max) {
            target = value;
            return;
        }
        result_.faults.push_back(
            {"environment", std::string(name), in_quotes(*text),
             "whole " + std::string(unit) + " from " + std::to_string(min) + " to " + std::to_string(max)});
    }

    // Reads and parses one file; faults for both. nullopt = nothing to go on with.
    std::optional<json::value> parse_file(std::string const& path, std::string const& text, JsonStyle style) {
        config_.manifests.push_back({path, core::sha256_hex(text)});
        auto parsed = parse_config_json(text, style);
        for (auto& fault : parsed.faults) {
            fault.file = path;
            result_.faults.push_back(std::move(fault));
        }
        return std::move(parsed.value);
    }

    void file_fault(std::string const& path, core::Error const& error, std::string hint) {
        bool const missing = error.code == kNoSuchFile;
        result_.faults.push_back({path, "", missing ? "no such file" : "a file that cannot be read: " + error.message,
                                  "a readable file", missing ? std::move(hint) : std::string()});
    }

    void load_agents(AgentDefaults const& defaults) {
        auto const& path = sources_.agent_config_path;
        auto const text = read_(path);
        if (!text) {
            return file_fault(path, text.error(), "name the file with --config FILE or AGENT_CONFIG_PATH");
        }
        auto const root = parse_file(path, *text, JsonStyle::kStrict);
        if (!root) return;
        auto const first_fault = result_.faults.size();
        FileScope scope{path, sources_.env, result_.faults, result_.warnings};
        read_root(scope, *root, defaults);
        set_lines(*text, JsonStyle::kStrict, result_.faults, first_fault);
    }

    void read_root(FileScope& scope, json::value const& root, AgentDefaults const& defaults) {
        if (auto const* list = root.if_array()) return read_list(scope, *list, "", defaults);
        auto const* object = root.if_object();
        if (object == nullptr) {
            scope.faults.push_back({scope.file, "", std::string(describe_type(root)),
                                    "an object with \"agents\", an array of agents, or one agent"});
            return;
        }
        if (object->contains("agent_id")) {
            config_.agents.push_back(read_agent(scope, *object, "", providers_, prompts_, defaults));
            return finish_agents(scope, config_.agents, {""});
        }
        std::vector<std::string> unset;
        ObjectReader const reader(scope, *object, "", unset);
        reader.allow_only(kRootKeys);
        constexpr std::array<Choice<int>, 1> kVersions{{{"1", 1}}};
        reader.choice<int>("version", kVersions);
        if (auto const* providers = reader.object("providers")) {
            providers_.read_entries(scope, *providers, "/providers");
        }
        auto const* agents = reader.find("agents");
        if (agents == nullptr) {
            reader.fault_here("no agents", "a member \"agents\" with an array of agents");
        } else if (auto const* list = agents->if_array()) {
            read_list(scope, *list, "/agents", defaults);
        } else {
            reader.fault("agents", std::string(describe_type(*agents)), "an array of agents");
        }
    }

    void read_list(FileScope& scope, json::array const& list, std::string const& pointer,
                   AgentDefaults const& defaults) {
        std::vector<std::string> pointers;
        if (list.empty()) scope.faults.push_back({scope.file, pointer, "an empty array", "at least one agent"});
        for (std::size_t i = 0; i < list.size(); ++i) {
            auto here = join_pointer(pointer, i);
            if (auto const* object = list[i].if_object()) {
                config_.agents.push_back(read_agent(scope, *object, here, providers_, prompts_, defaults));
                pointers.push_back(std::move(here));
            } else {
                scope.faults.push_back(
                    {scope.file, std::move(here), std::string(describe_type(list[i])), "an object for one agent"});
            }
        }
        finish_agents(scope, config_.agents, pointers);
    }

    void load_mcp() {
        auto const& path = sources_.mcp_path;
        if (path.empty()) return;
        McpDefaults defaults;
        read_environment("MCP_TOOL_CACHE_TTL", 0, 86'400, "seconds", defaults.tools_ttl_s);
        read_environment("TOOL_EXECUTION_TIMEOUT", 1, 86'400, "seconds", defaults.call_timeout_s);
        auto const text = read_(path);
        if (!text) {
            if (text.error().code == kNoSuchFile && !sources_.mcp_required) return;
            return file_fault(path, text.error(), "name the file with --mcp FILE or MCP_CONFIG_PATH");
        }
        auto const root = parse_file(path, *text, JsonStyle::kRelaxed);
        if (!root) return;
        auto const first_fault = result_.faults.size();
        FileScope scope{path, mcp_lookup(sources_.env, path), result_.faults, result_.warnings};
        config_.mcp_servers = read_mcp_servers(scope, *root, defaults, read_);
        set_lines(*text, JsonStyle::kRelaxed, result_.faults, first_fault);
    }

    // A label without server costs the agent some tools, not its life: other hosts share mcp.json, and it may change.
    void check_server_labels() {
        std::vector<std::string_view> labels;
        labels.reserve(config_.mcp_servers.size());
        for (auto const& server : config_.mcp_servers)
            labels.push_back(server.label);
        for (auto const& agent : config_.agents) {
            if (!agent.allowed_mcp_servers) continue;
            for (auto const& [label, tools] : *agent.allowed_mcp_servers) {
                auto const is_meant = [&pattern = label](std::string_view known) {
                    return core::glob_matches(pattern, known);
                };
                if (std::any_of(labels.begin(), labels.end(), is_meant)) continue;
                auto const hint = did_you_mean(label, labels);
                result_.warnings.push_back("agent " + in_quotes(agent.agent_id) + ": no MCP server " +
                                           in_quotes(label) + " is configured" + (hint.empty() ? "" : "; " + hint));
            }
        }
    }

    // A server is worth having without it.
    void check_sampling_agents() {
        std::vector<std::string_view> ids;
        ids.reserve(config_.agents.size());
        for (auto const& agent : config_.agents)
            ids.push_back(agent.agent_id);
        for (auto& server : config_.mcp_servers) {
            if (server.sampling.empty() || std::find(ids.begin(), ids.end(), server.sampling) != ids.end()) continue;
            auto const hint = did_you_mean(server.sampling, ids);
            result_.warnings.push_back("MCP server " + in_quotes(server.label) + ": no agent " +
                                       in_quotes(server.sampling) + " is there to answer its sampling requests" +
                                       (hint.empty() ? "" : "; " + hint));
            server.sampling.clear();
        }
    }

    ConfigSources const& sources_;
    FileReader read_;
    LoadedConfig result_;
    GatewayConfig config_;
    PromptShelf prompts_;
    ProviderBook providers_;
};

} // namespace

std::optional<std::string> PromptShelf::read(ObjectReader const& reader, std::string_view key,
                                             std::string const& file) {
    constexpr std::string_view kAllowed = "the name of a file in the prompts folder";
    auto const path = inside(dir_, file);
    if (!path) {
        reader.fault(key, in_quotes(reader.written(key)) + ", which is outside of " + dir_, std::string(kAllowed));
        return std::nullopt;
    }
    auto const name = path->string();
    if (auto const known = texts_.find(name); known != texts_.end()) return known->second;
    auto const text = read_(name);
    if (!text) {
        auto const folder = fs::path(dir_).filename().string();
        bool const doubled = !folder.empty() && file.substr(0, folder.size() + 1) == folder + "/";
        bool const missing = text.error().code == kNoSuchFile;
        reader.fault(key, missing ? "no file " + name : name + ", which cannot be read: " + text.error().message,
                     std::string(kAllowed) + " (" + dir_ + ")",
                     doubled ? "leave out the " + folder + "/ in front" : std::string());
        return std::nullopt;
    }
    if (text->size() > kPromptFileBytesMax || !core::is_valid_utf8(*text)) {
        bool const large = text->size() > kPromptFileBytesMax;
        reader.fault(key, name + (large ? ", which is too large" : ", which is not UTF-8 text"),
                     "UTF-8 text of at most " + std::to_string(kPromptFileBytesMax) + " bytes");
        return std::nullopt;
    }
    manifests_.push_back({name, core::sha256_hex(*text)});
    return texts_.emplace(name, trimmed(*text)).first->second;
}

FileReader disk_reader() {
    return [](std::string const& path) -> core::Result<std::string> {
        std::error_code error;
        auto const status = fs::status(path, error);
        if (!fs::exists(status)) {
            bool const missing = !error || error == std::errc::no_such_file_or_directory;
            return core::make_error(missing ? kNoSuchFile : core::Errc::kInternal,
                                    missing ? "no such file" : error.message());
        }
        if (!fs::is_regular_file(status)) return core::make_error(core::Errc::kInvalidValue, "not a file");
        std::ifstream in(path, std::ios::binary);
        if (!in) return core::make_error(core::Errc::kInternal, std::system_category().message(errno));
        std::string bytes(kConfigFileBytesMax + 1, '\0');
        in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        if (in.bad()) return core::make_error(core::Errc::kInternal, "reading failed");
        bytes.resize(static_cast<std::size_t>(in.gcount()));
        if (bytes.size() > kConfigFileBytesMax) {
            return core::make_error(core::Errc::kPayloadTooLarge,
                                    "larger than " + std::to_string(kConfigFileBytesMax) + " bytes");
        }
        return bytes;
    };
}

LoadedConfig load_config(ConfigSources const& sources) {
    return Loader(sources).load();
}

} // namespace parley::agents

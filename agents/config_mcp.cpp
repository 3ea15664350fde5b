// mcp.json: the original array, and the union of what other hosts write; see config_parts.hpp.
// Owned by one load of the configuration. Only reads and checks: the client is another room.
// Source of the dialects: the documentation of each host, collected in the project's notes on MCP.
#include <algorithm>
#include <array>
#include <filesystem>

#include "agents/config_json.hpp"
#include "agents/config_parts.hpp"

namespace parley::agents {
namespace {

namespace json = boost::json;

// Aliases of one thing, the original's name first.
constexpr std::array<std::string_view, 2> kLabelKeys{"server_label", "name"};
constexpr std::array<std::string_view, 4> kUrlKeys{"server_url", "url", "httpUrl", "serverUrl"};
constexpr std::array<std::string_view, 3> kTypeKeys{"type", "transport", "transportType"};
constexpr std::array<std::string_view, 3> kHeaderKeys{"header", "headers", "static_headers"};
constexpr std::array<std::string_view, 2> kEnvFileKeys{"env_file", "envFile"};
constexpr std::array<std::string_view, 3> kAllowKeys{"allowed_tools", "includeTools", "tools_to_execute"};
constexpr std::array<std::string_view, 4> kDenyKeys{"disallowed_tools", "excludeTools", "disabledTools",
                                                    "disabled_tools"};
constexpr std::array<std::string_view, 6> kOtherKeys{"command", "args", "env", "cwd", "disabled", "enabled"};
constexpr std::array<std::string_view, 1> kApprovalKeys{"require_approval"};
constexpr std::array<std::string_view, 4> kGeminiKeys{"httpUrl", "includeTools", "excludeTools", "trust"};

constexpr std::array<Choice<McpTransport>, 6> kTransports{{{"stdio", McpTransport::kStdio},
                                                           {"http", McpTransport::kHttp},
                                                           {"streamable-http", McpTransport::kHttp},
                                                           {"streamableHttp", McpTransport::kHttp},
                                                           {"streamable_http", McpTransport::kHttp},
                                                           {"sse", McpTransport::kSse}}};
constexpr std::array<Choice<Approval>, 2> kApprovals{{{"never", Approval::kNever}, {"always", Approval::kAlways}}};

constexpr std::size_t kLabelBytesMax = 64;

// VS Code asks the user for "input:NAME"; here MCP_INPUT_NAME answers. Nothing for other variables.
std::optional<std::string> input_variable(std::string_view name) {
    constexpr std::string_view kInput = "input:";
    if (!name.starts_with(kInput)) return std::nullopt;
    std::string variable = "MCP_INPUT_";
    for (char const c : name.substr(kInput.size())) {
        bool const is_plain = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        bool const is_small = c >= 'a' && c <= 'z';
        variable += is_plain ? c : is_small ? static_cast<char>(c - 'a' + 'A') : '_';
    }
    return variable;
}

std::vector<std::string_view> known_keys() {
    std::vector<std::string_view> out;
    auto const add = [&out](auto const& keys) { out.insert(out.end(), keys.begin(), keys.end()); };
    add(kLabelKeys);
    add(kUrlKeys);
    add(kTypeKeys);
    add(kHeaderKeys);
    add(kEnvFileKeys);
    add(kAllowKeys);
    add(kDenyKeys);
    add(kOtherKeys);
    add(kApprovalKeys);
    add(mcp_option_keys());
    return out;
}

bool is_empty_text(json::value const& value) noexcept {
    return value.is_string() && value.get_string().empty();
}

std::string replace_whole_value(std::string_view text) {
    for (std::string_view const prefix : {"os.environ/", "env."}) { // LiteLLM, Bifrost
        if (text.size() <= prefix.size() || text.substr(0, prefix.size()) != prefix) continue;
        auto const name = text.substr(prefix.size());
        bool const is_variable = std::all_of(name.begin(), name.end(), [](char c) {
            return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        });
        if (is_variable) return "${" + std::string(name) + "}";
    }
    return std::string(text);
}

// Gemini CLI also knows $NAME without braces.
std::string replace_bare_variables(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        auto end = i + 1;
        while (end < text.size() && ((text[end] >= 'A' && text[end] <= 'Z') || text[end] == '_' ||
                                     (end > i + 1 && text[end] >= '0' && text[end] <= '9'))) {
            ++end;
        }
        if (text[i] != '$' || end == i + 1) {
            out += text[i];
            continue;
        }
        out += "${" + std::string(text.substr(i + 1, end - i - 1)) + "}";
        i = end - 1;
    }
    return out;
}

// Brings the other ways to name a variable into ours, before anything is read.
json::value with_our_variables(json::value const& value, bool gemini) {
    if (auto const* text = value.if_string()) {
        auto out = replace_whole_value({text->data(), text->size()});
        return json::string(gemini ? replace_bare_variables(out) : out);
    }
    if (auto const* array = value.if_array()) {
        json::array out;
        for (auto const& element : *array)
            out.push_back(with_our_variables(element, gemini));
        return out;
    }
    if (auto const* object = value.if_object()) {
        json::object out;
        for (auto const& member : *object)
            out[member.key()] = with_our_variables(member.value(), gemini);
        return out;
    }
    return value;
}

// Whoever writes one of these means what we send anyway; a second one would break the framing of the request.
constexpr std::array<std::string_view, 9> kOwnHeaders{
    "accept",     "connection", "content-length",    "content-type", "host",
    "keep-alive", "te",         "transfer-encoding", "upgrade"};

void read_own_headers(ObjectReader const& reader, std::string_view key, McpServerConfig& server) {
    auto headers = read_headers(reader, key);
    if (!headers) return;
    for (auto& header : *headers) {
        auto const is_same = [&header](std::string_view own) { return is_same_header(own, header.first); };
        if (std::none_of(kOwnHeaders.begin(), kOwnHeaders.end(), is_same)) {
            server.headers.push_back(std::move(header));
            continue;
        }
        reader.scope().warnings.push_back(reader.scope().file + ": " +
                                          join_pointer(join_pointer(reader.pointer(), key), header.first) +
                                          " has no effect: the connection sets this header itself");
    }
}

// The query goes into the request line as it stands.
bool is_request_text(std::string_view text) noexcept {
    return std::none_of(text.begin(), text.end(),
                        [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; });
}

void read_url(ObjectReader const& reader, std::string_view key, McpServerConfig& server) {
    auto url = read_one_line(reader, key);
    auto const written = reader.written(key);
    server.url_shown = std::string(written.substr(0, written.find('?')));
    if (!url) return;
    if (url->substr(0, 7) == "unix://") {
        server.unavailable = "unix:// addresses are not supported";
        return;
    }
    // Some servers take their key as a query, which the check for providers would refuse.
    if (auto const problem = base_url_problem(std::string_view(*url).substr(0, url->find_first_of("?#")))) {
        reader.fault(key, *problem, "an http:// or https:// URL without user and password");
        return;
    }
    if (!is_request_text(*url)) {
        reader.fault(key, "a URL with a space in its query", "a URL, a space in its query written as %20");
        return;
    }
    server.url = core::Secret(std::move(*url));
}

bool ends_with_sse(std::string_view url) noexcept {
    url = url.substr(0, url.find_first_of("?#"));
    while (!url.empty() && url.back() == '/')
        url.remove_suffix(1);
    return url.size() >= 4 && url.substr(url.size() - 4) == "/sse";
}

void read_transport(ObjectReader const& reader, McpServerConfig& server) {
    auto const url_key = one_of(reader, kUrlKeys);
    auto const type_key = one_of(reader, kTypeKeys);
    bool const has_command = !reader.written("command").empty();
    auto const told = type_key ? reader.choice<McpTransport>(*type_key, kTransports) : std::nullopt;
    if (type_key && !told && !reader.written(*type_key).empty()) return; // told as a fault, or a variable is missing
    if (told) {
        server.transport = *told;
    } else if (has_command && url_key) {
        reader.fault_here("both command and " + std::string(*url_key), "one of the two, or a type that decides");
        return;
    } else if (has_command) {
        server.transport = McpTransport::kStdio;
    } else if (url_key && *url_key == "httpUrl") {
        server.transport = McpTransport::kHttp;
    } else {
        server.transport = McpTransport::kHttpOrSse;
    }
    if (server.transport == McpTransport::kStdio) {
        server.command = reader.text_not_empty("command").value_or("");
        if (!reader.has("command")) reader.fault_here("no command", "a member \"command\" for a stdio server");
        return;
    }
    if (!url_key) {
        reader.text("command"); // a wrong type is told too
        reader.fault_here("neither command nor url", "\"command\" with \"args\", or \"url\"");
        return;
    }
    read_url(reader, *url_key, server);
    if (server.transport == McpTransport::kHttpOrSse && ends_with_sse(server.url.reveal()))
        server.transport = McpTransport::kSse;
}

void read_lists(ObjectReader const& reader, McpServerConfig& server) {
    if (auto args = reader.texts("args", true)) {
        for (auto& arg : *args)
            server.args.emplace_back(std::move(arg));
    }
    if (auto env = reader.secrets_by_name("env")) server.env = std::move(*env);
    if (auto const key = one_of(reader, kHeaderKeys)) {
        read_own_headers(reader, *key, server);
    }
    if (auto const key = one_of(reader, kAllowKeys)) server.allowed_tools = reader.texts(*key);
    if (auto const key = one_of(reader, kDenyKeys)) {
        server.denied_tools = reader.texts(*key).value_or(std::vector<std::string>{});
    }
}

void carry_unknown_keys(ObjectReader const& reader, json::object const& given, McpServerConfig& server) {
    auto const known = known_keys();
    for (auto const& member : given) {
        std::string_view const key(member.key().data(), member.key().size());
        if (std::find(known.begin(), known.end(), key) != known.end()) continue;
        server.carried[member.key()] = member.value();
        auto const hint = did_you_mean(key, known);
        reader.scope().warnings.push_back(reader.scope().file + ": " + join_pointer(reader.pointer(), key) +
                                          " is not known here and has no effect" + (hint.empty() ? "" : "; " + hint));
    }
}

// Bifrost names everything otherwise, and puts the program into an object of its own.
json::object from_bifrost(json::object const& object) {
    if (!object.contains("connection_type") && !object.contains("stdio_config")) return object;
    json::object out;
    for (auto const& member : object) {
        auto const key = member.key();
        if (key == "connection_type") {
            out["type"] = member.value();
        } else if (key == "connection_string") {
            out["url"] = member.value();
        } else if (key == "stdio_config" && member.value().is_object()) {
            for (auto const& inner : member.value().get_object()) {
                if (inner.key() != "envs" || !inner.value().is_array()) {
                    out[inner.key()] = inner.value();
                    continue;
                }
                json::object env; // names of our variables that it is given
                for (auto const& name : inner.value().get_array()) {
                    if (name.is_string()) env[name.get_string()] = "${" + std::string(name.get_string()) + "}";
                }
                out["env"] = std::move(env);
            }
        } else {
            out[key] = member.value();
        }
    }
    return out;
}

std::optional<McpServerConfig> read_server(FileScope& scope, json::value const& value, std::string const& pointer,
                                           std::optional<std::string_view> label, McpDefaults const& defaults,
                                           FileReader const& read) {
    auto const* as_written = value.if_object();
    if (as_written == nullptr) {
        scope.faults.push_back({scope.file, pointer, std::string(describe_type(value)), "an object for one server"});
        return std::nullopt;
    }
    bool const gemini = std::any_of(kGeminiKeys.begin(), kGeminiKeys.end(), [&](std::string_view key) {
        return as_written->contains(json::string_view(key.data(), key.size()));
    });
    auto const ours = with_our_variables(from_bifrost(*as_written), gemini);
    std::vector<std::string> unset;
    ObjectReader const reader(scope, ours.get_object(), pointer, unset);
    McpServerConfig server;
    server.tools_ttl = std::chrono::seconds(defaults.tools_ttl_s);
    if (defaults.call_timeout_s > 0)
        server.call_timeout = server.call_idle_timeout = std::chrono::seconds(defaults.call_timeout_s);
    if (label) {
        server.label = std::string(*label);
    } else if (auto const key = one_of(reader, kLabelKeys)) {
        server.label = reader.text(*key).value_or("");
    } else {
        reader.fault_here("no server_label", "a member \"server_label\": the name that goes before its tools");
    }
    bool const printable = std::none_of(server.label.begin(), server.label.end(),
                                        [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
    if (server.label.size() > kLabelBytesMax || !printable || (label && label->empty())) {
        reader.fault_here("the label " + in_quotes(server.label), "1 to 64 bytes without control characters");
    }
    carry_unknown_keys(reader, ours.get_object(), server);
    read_transport(reader, server);
    read_lists(reader, server);
    server.cwd = reader.text("cwd").value_or("");
    server.disabled = reader.boolean("disabled").value_or(false) || !reader.boolean("enabled").value_or(true);
    server.require_approval = reader.choice<Approval>("require_approval", kApprovals).value_or(server.require_approval);
    read_mcp_options(reader, server, read, unset);
    if (server.require_approval == Approval::kAlways && !server.disabled) {
        scope.warnings.push_back(scope.file + ": " + pointer + ": the tools of " + in_quotes(server.label) +
                                 " are not offered: require_approval is \"always\", and nobody is there to ask");
    }
    for (auto& name : unset) {
        if (auto const variable = input_variable(name)) name = *variable + " (of ${" + name + "})";
    }
    if (!unset.empty()) server.unavailable = not_set(unset);
    return server;
}

} // namespace

std::optional<std::string_view> one_of(ObjectReader const& reader, std::span<std::string_view const> keys) {
    std::optional<std::string_view> chosen;
    for (auto const key : keys) {
        auto const* value = reader.find(key);
        if (value == nullptr || is_empty_text(*value)) continue;
        if (!chosen) {
            chosen = key;
        } else if (*value != *reader.find(*chosen)) {
            reader.fault(key, "both " + std::string(*chosen) + " and " + std::string(key), "one of the two");
        }
    }
    return chosen;
}

std::vector<McpServerConfig> read_mcp_servers(FileScope& scope, json::value const& root, McpDefaults const& defaults,
                                              FileReader const& read) {
    auto const servers = find_mcp_servers(scope, root);
    std::vector<McpServerConfig> out;
    if (servers.value == nullptr) return out;
    std::vector<std::string> pointers;
    auto const add = [&](json::value const& value, std::string pointer, std::optional<std::string_view> label) {
        if (auto server = read_server(scope, value, pointer, label, defaults, read)) {
            auto const same =
                std::find_if(out.begin(), out.end(), [&](auto const& s) { return s.label == server->label; });
            if (same != out.end() && !server->label.empty()) {
                scope.faults.push_back(
                    {scope.file, pointer, "the label " + in_quotes(server->label) + " a second time",
                     "every label once",
                     "the first one is at " + pointers[static_cast<std::size_t>(same - out.begin())]});
            }
            out.push_back(std::move(*server));
            pointers.push_back(std::move(pointer));
        }
    };
    if (auto const* array = servers.value->if_array()) {
        for (std::size_t i = 0; i < array->size(); ++i)
            add((*array)[i], join_pointer(servers.pointer, i), std::nullopt);
        return out;
    }
    auto const* object = servers.value->if_object();
    if (object == nullptr) {
        scope.faults.push_back({scope.file, servers.pointer, std::string(describe_type(*servers.value)),
                                "an array of servers, or an object with mcpServers"});
        return out;
    }
    bool const is_one_server = servers.pointer.empty() && object->contains("server_label");
    if (is_one_server) {
        add(*servers.value, servers.pointer, std::nullopt);
        return out;
    }
    for (auto const& member : *object) {
        std::string_view const label(member.key().data(), member.key().size());
        if (servers.pointer.empty() && (label == "$schema" || label == "inputs")) continue;
        if (servers.pointer.empty() && is_misspelt_root(scope, label, member.value())) continue;
        add(member.value(), join_pointer(servers.pointer, label), label);
    }
    return out;
}

core::VariableLookup mcp_lookup(EnvLookup env, std::string const& mcp_path) {
    std::error_code ignored; // a path that cannot be made absolute stays as it is
    auto const absolute = std::filesystem::absolute(mcp_path, ignored);
    auto const folder = (absolute.empty() ? std::filesystem::path(mcp_path) : absolute).parent_path();
    return [env = std::move(env), folder = folder.string(),
            base = folder.filename().string()](std::string_view name) -> std::optional<std::string> {
        auto const ask = [&env](std::string_view variable) { return env ? env(variable) : std::nullopt; };
        if (auto const variable = input_variable(name)) return ask(*variable);
        if (auto value = ask(name)) return value;
        if (name == "userHome") return ask("HOME");
        if (name == "workspaceFolder") return folder;
        if (name == "workspaceFolderBasename") return base;
        if (name == "pathSeparator") return "/";
        return std::nullopt;
    };
}

} // namespace parley::agents
